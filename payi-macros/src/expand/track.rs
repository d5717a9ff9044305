//! `#[track]`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{ImplItemFn, Path, ReturnType, Type, spanned::Spanned, visit_mut::VisitMut};

use super::field::entries;
use crate::{rewrite::hidden, track::Track};

impl ToTokens for Track {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { payi, fields, function, fixed_user } = self;
        let ImplItemFn { attrs, vis, defaultness, sig, block } = function;
        let warning = fixed_user.map(warning);
        let entries = entries(payi, fields);
        let body = if sig.asyncness.is_some() {
            async_body(payi, &entries, &sig.output, &block.stmts)
        } else {
            let guard = Ident::new("__payi_guard", Span::mixed_site());
            let stmts = &block.stmts;
            quote!(let #guard = #payi::__private::enter_sync(#entries); #(#stmts)*)
        };
        let mut braced = TokenStream::new();
        // The function's own braces, so that tools find its body where it is.
        block.brace_token.surround(&mut braced, |inner| inner.extend(quote!(#warning #body)));
        tokens.extend(quote!(#(#attrs)* #vis #defaultness #sig #braced));
    }
}

fn async_body(payi: &Path, entries: &TokenStream, output: &ReturnType, stmts: &[syn::Stmt]) -> TokenStream {
    let hint = return_hint(output);
    quote_spanned! {Span::mixed_site()=>
        #payi::__private::scoped(#entries, async move { #hint #(#stmts)* }).await
    }
}

/// Tells inference the declared type before it sees any `return`.
///
/// Without it `return Ok(Box::new(x))` would fix the type of the async block to `Result<Box<X>, _>`.
fn return_hint(output: &ReturnType) -> Option<TokenStream> {
    let ReturnType::Type(_, ty) = output else { return None };
    if matches!(**ty, Type::Never(_)) {
        return None;
    }
    let mut ty = ty.clone();
    Unnamed.visit_type_mut(&mut ty);
    let name = Ident::new("__payi_returns", Span::mixed_site());
    Some(quote_spanned! {hidden(ty.span())=>
        #[allow(
            unreachable_code,
            clippy::diverging_sub_expression,
            clippy::empty_loop,
            clippy::let_unit_value,
            clippy::let_with_type_underscore,
            clippy::needless_return,
            clippy::unreachable
        )]
        if false {
            let #name: #ty = loop {};
            return #name;
        }
    })
}

/// Replaces each `impl Trait` by `_`.
struct Unnamed;

impl VisitMut for Unnamed {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Type::ImplTrait(_) = ty {
            *ty = Type::Infer(syn::TypeInfer { underscore_token: syn::token::Underscore::default() });
        } else {
            syn::visit_mut::visit_type_mut(self, ty);
        }
    }
}

/// A warning at the literal, by the one way there is to give one.
fn warning(literal: Span) -> TokenStream {
    let note = "a user changes with each request: give `user_id` an expression, or use `track_context!`";
    quote_spanned! {literal=>
        #[warn(deprecated)]
        {
            #[deprecated(note = #note)]
            const FIXED_USER_ID: () = ();
            let _ = FIXED_USER_ID;
        }
    }
}
