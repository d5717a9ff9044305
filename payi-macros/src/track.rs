//! `#[track(...)]`: what it is put on, and whether that makes sense.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::quote;
use syn::{ImplItemFn, Path, ext::IdentExt, parse_quote, spanned::Spanned};

use crate::{
    args::{Arg, Args},
    diag::Errors,
    literals,
    model::{self, Field},
};

/// A function and the scope around its body.
pub(crate) struct Track {
    pub(crate) payi: Path,
    pub(crate) fields: Vec<Field>,
    /// Also a free function or a provided method of a trait: their syntax is the same, but for what a
    /// method may have in front.
    pub(crate) function: ImplItemFn,
    /// Where a literal `user_id` is.
    pub(crate) fixed_user: Option<Span>,
}

/// What the item becomes; with mistakes, they and the item as it was.
pub(crate) fn expand(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    let args = Args::parse(args, &mut errors);
    let track = Track::check(args, item, &mut errors);
    match (errors.finish(), track) {
        (None, Some(track)) => quote!(#track),
        (mistakes, _) => quote!(#item #mistakes),
    }
}

impl Track {
    fn check(mut args: Args, item: &TokenStream, errors: &mut Errors) -> Option<Self> {
        let payi = args.payi.take().unwrap_or_else(|| parse_quote!(::payi));
        let function = function(item, errors);
        if let (true, Some(function)) = (args.bare, &function) {
            args.list.push(named_after(function));
        }
        let fields = model::check(args, errors);
        let function = function?;
        refuse(&function, errors);
        let fixed_user = literals::fixed_user(&fields);
        Some(Self { payi, fields, function, fixed_user })
    }
}

/// The use case of a bare `#[track]`.
fn named_after(function: &ImplItemFn) -> Arg {
    let name = function.sig.ident.unraw().to_string();
    Arg { key: syn::Ident::new("use_case_name", function.sig.ident.span()), value: parse_quote!(#name) }
}

fn function(item: &TokenStream, errors: &mut Errors) -> Option<ImplItemFn> {
    if let Ok(function) = syn::parse2::<ImplItemFn>(item.clone()) {
        return Some(function);
    }
    let message = match syn::parse2::<syn::TraitItemFn>(item.clone()) {
        Ok(_) => "this method has no body; put `#[track]` on the implementations",
        Err(_) => "`#[track]` goes on a function or method with a body, or on an `impl` block",
    };
    // Past the attributes, which are not the mistake.
    let first = item.clone().into_iter().find(|token| matches!(token, TokenTree::Ident(_)));
    errors.at(first.map_or_else(Span::call_site, |token| token.span()), message);
    None
}

fn refuse(function: &ImplItemFn, errors: &mut Errors) {
    if let Some(word) = &function.sig.constness {
        errors.at(word.span(), "a `const fn` cannot be tracked: it may run while the program is compiled");
    }
    if let Some(abi) = &function.sig.abi {
        errors.at(
            abi.extern_token.span(),
            "an `extern` function cannot be tracked: its callers know nothing of scopes",
        );
    }
}
