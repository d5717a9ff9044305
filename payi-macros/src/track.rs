//! `#[track(...)]`: what it is put on, and whether that makes sense.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{ImplItemFn, ItemImpl, Path, ext::IdentExt, parse_quote, spanned::Spanned};

use crate::{
    args::{Arg, Args},
    diag::Errors,
    impl_block, literals,
    model::{self, Field},
    returns::{self, Returns},
};

/// A function and the scope around its body.
pub(crate) struct Track {
    pub(crate) payi: Path,
    pub(crate) fields: Vec<Field>,
    /// Every key that is written, known or not.
    pub(crate) keys: Vec<Ident>,
    /// Also a free function or a provided method of a trait: their syntax is the same, but for what a
    /// method may have in front.
    pub(crate) function: ImplItemFn,
    pub(crate) returns: Returns,
    /// Where a literal `user_id` is.
    pub(crate) fixed_user: Option<Span>,
}

/// What the item becomes. With mistakes: they, and the item as it was.
pub(crate) fn expand(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    let mut args = Args::parse(args, &mut errors);
    let payi = args.payi.take().unwrap_or_else(|| parse_quote!(::payi));
    if let Some(skip) = args.skip {
        errors.at(skip, "`skip` is for a method in an `impl` block that has a `#[track]` itself");
    }
    if let Ok(mut block) = syn::parse2::<ItemImpl>(item.clone()) {
        impl_block::distribute(args, &payi, &mut block, &mut errors);
        return match errors.finish() {
            None => block.into_token_stream(),
            mistakes => quote!(#item #mistakes),
        };
    }
    let track = function(item, &mut errors).map(|function| Track::check(args, payi, function, &mut errors));
    match (errors.finish(), track) {
        (None, Some(track)) => track.into_token_stream(),
        (Some(mistakes), Some(track)) => track.as_written(&mistakes),
        (mistakes, None) => quote!(#item #mistakes),
    }
}

impl Track {
    fn check(mut args: Args, payi: Path, function: ImplItemFn, errors: &mut Errors) -> Self {
        if args.bare {
            args.list.push(named_after(&function));
        }
        refuse(&function, errors);
        let returns = returns::of(&function.sig.output, args.returns.as_ref());
        let returns = errors.ok(returns).unwrap_or(Returns::Value);
        let keys = args.list.iter().map(|arg| arg.key.clone()).collect();
        let fields = model::check(args, errors);
        let fixed_user = literals::fixed_user(&fields);
        Self { payi, fields, keys, function, returns, fixed_user }
    }

    /// Whether its body may be given anything at all.
    pub(crate) fn is_plain(&self) -> bool {
        self.function.sig.constness.is_none() && self.function.sig.abi.is_none()
    }
}

/// The use case of a bare `#[track]`.
fn named_after(function: &ImplItemFn) -> Arg {
    let name = function.sig.ident.unraw().to_string();
    Arg { key: Ident::new("use_case_name", function.sig.ident.span()), value: parse_quote!(#name) }
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
        let message = "an `extern` function cannot be tracked: its callers know nothing of scopes";
        errors.at(abi.extern_token.span(), message);
    }
}
