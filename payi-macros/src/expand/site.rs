//! Each `#[track]` leaves a note of itself, which `payi::inventory()` lists.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Expr, ExprLit, Lit, ext::IdentExt};

use crate::{
    model::{Field, Value},
    rewrite::hidden,
    track::Track,
};

pub(crate) fn register(track: &Track) -> TokenStream {
    let payi = &track.payi;
    let name = &track.function.sig.ident;
    let function = name.unraw().to_string();
    let keys = track.fields.iter().map(|field| key(track, field));
    // With the function's place, which is where `line!()` says this is.
    let span = hidden(name.span());
    let place = quote_spanned!(span=> ::core::file!(), ::core::line!());
    quote! {
        #payi::__private::inventory::submit! {
            #payi::__private::Site::new(#function, ::core::module_path!(), #place, &[#(#keys),*])
        }
    }
}

/// The key, and its value if that is a literal.
fn key(track: &Track, field: &Field) -> TokenStream {
    let payi = &track.payi;
    let name = field.key.name;
    let literal = match &field.value {
        Value::Literal(Expr::Lit(ExprLit { lit, .. })) => text(lit),
        _ => None,
    };
    let literal = literal.map_or_else(
        || quote!(::core::option::Option::None),
        |text| quote!(::core::option::Option::Some(#text)),
    );
    let key = quote!(#name);
    quote!(#payi::__private::SiteKey::new(#key, #literal))
}

fn text(literal: &Lit) -> Option<String> {
    match literal {
        Lit::Str(text) => Some(text.value()),
        Lit::Int(number) => Some(number.base10_digits().to_owned()),
        Lit::Bool(flag) => Some(flag.value.to_string()),
        _ => None,
    }
}
