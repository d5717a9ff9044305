//! `track_context!`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Block, Path, Token};

use super::{
    complete,
    field::{entries, typed},
};
use crate::{
    args::Arg,
    block::{Body, Invocation},
    diag::Errors,
    model::{self, Field},
    rewrite,
};

/// What the invocation becomes. With mistakes: they, and the body as it was.
pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    let Some(invocation) = Invocation::parse(tokens, &mut errors) else {
        let mistakes = errors.finish();
        return quote_spanned!(Span::mixed_site()=> { #mistakes });
    };
    let Invocation { payi, outer, mut args, body } = invocation;
    for (span, what) in [(args.skip.take(), "skip"), (args.returns.take().map(|it| it.span()), "returns")] {
        if let Some(span) = span {
            errors.at(span, format!("`{what}` is for `#[track]`"));
        }
    }
    let keys: Vec<_> = args.list.iter().map(|arg| arg.key.clone()).collect();
    let fields: Vec<Field> = model::check(args, &mut errors);
    let entries = entries(&payi, &fields);
    let scoped = match body.clone() {
        Some(Body::Async(future)) => quote!(#payi::__private::scoped(#entries, #future)),
        Some(Body::Block(block)) => scope(&payi, outer.as_ref(), &entries, block, &mut errors),
        None => TokenStream::new(),
    };
    let Some(mistakes) = errors.finish() else { return scoped };
    // The values that make sense are still checked for their types, so that those mistakes show as well.
    let complete = complete::keys(&payi, keys.iter());
    let typed = typed(&fields, &entries);
    let body = match body {
        Some(Body::Block(Block { stmts, .. })) => quote!(#(#stmts)*),
        Some(Body::Async(future)) => future.into_token_stream(),
        // A mistake in the place of a value is of any type.
        None => return quote_spanned!(Span::mixed_site()=> { #complete #typed #mistakes }),
    };
    quote_spanned!(Span::mixed_site()=> { #mistakes #complete #typed #body })
}

fn scope(
    payi: &Path,
    outer: Option<&Ident>,
    entries: &TokenStream,
    mut block: Block,
    errors: &mut Errors,
) -> TokenStream {
    let guard = Ident::new("__payi_guard", Span::mixed_site());
    let awaits = rewrite::block(payi, &guard, &mut block, errors);
    let stmts = &block.stmts;
    let enter = match (awaits, outer) {
        (false, _) => quote!(let #guard = #payi::__private::enter_sync(#entries)),
        (true, None) => quote!(let mut #guard = #payi::__private::enter(#entries)),
        (true, Some(outer)) => quote!(let mut #guard = #payi::__private::nest(#entries, &mut #outer)),
    };
    quote_spanned!(Span::mixed_site()=> { #enter; #(#stmts)* })
}

impl Invocation {
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
