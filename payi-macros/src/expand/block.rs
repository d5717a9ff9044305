//! `track_context!`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Token;

use super::field::entries;
use crate::{
    args::Arg,
    block::{Body, Invocation},
    diag::Errors,
    model::{self, Field},
    rewrite,
};

/// What the invocation becomes; with mistakes, they and a body that still type-checks.
pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    let expanded = Invocation::parse(tokens, &mut errors).map(|invocation| invocation.expand(&mut errors));
    let written = expanded.unwrap_or_default();
    match errors.finish() {
        None => written,
        Some(mistakes) => quote_spanned!(Span::mixed_site()=> { #mistakes }),
    }
}

impl Invocation {
    fn expand(self, errors: &mut Errors) -> TokenStream {
        let Self { payi, outer, mut args, body } = self;
        for (span, what) in [(args.skip.take(), "skip"), (args.returns.take().map(|r| r.span()), "returns")] {
            if let Some(span) = span {
                errors.at(span, format!("`{what}` is for `#[track]`"));
            }
        }
        let fields: Vec<Field> = model::check(args, errors);
        let Some(body) = body else { return TokenStream::new() };
        let entries = entries(&payi, &fields);
        match body {
            Body::Async(future) => quote!(#payi::__private::scoped(#entries, #future)),
            Body::Block(mut block) => {
                let guard = Ident::new("__payi_guard", Span::mixed_site());
                let awaits = rewrite::block(&payi, &guard, &mut block, errors);
                let stmts = &block.stmts;
                let enter = match (awaits, outer) {
                    (false, _) => quote!(let #guard = #payi::__private::enter_sync(#entries)),
                    (true, None) => quote!(let mut #guard = #payi::__private::enter(#entries)),
                    (true, Some(outer)) => {
                        quote!(let mut #guard = #payi::__private::nest(#entries, &mut #outer))
                    }
                };
                quote_spanned!(Span::mixed_site()=> { #enter; #(#stmts)* })
            }
        }
    }

    /// Whether its block awaits.
    pub(crate) fn awaits(&self) -> bool {
        let Some(Body::Block(block)) = &self.body else { return false };
        let guard = Ident::new("__payi_guard", Span::mixed_site());
        let mut unread = Errors::new();
        let awaits = rewrite::block(&self.payi, &guard, &mut block.clone(), &mut unread);
        drop(unread.finish());
        awaits
    }
}

impl ToTokens for Invocation {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { args, body, .. } = self;
        if args.allow_pii {
            tokens.extend(quote!(allow_pii,));
        }
        for Arg { key, value } in &args.list {
            tokens.extend(quote!(#key = #value,));
        }
        match body {
            Some(Body::Block(block)) => block.to_tokens(tokens),
            Some(Body::Async(future)) => future.to_tokens(tokens),
            None => {}
        }
        <Token![,]>::default().to_tokens(tokens);
    }
}
