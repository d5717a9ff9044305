//! Finds the places where a block waits, and makes its scope leave there and come back.
//!
//! A scope may not be in force while its task is parked: other tasks run on the same thread then, and
//! other branches of the same task. Wrapping the block in `async {}` would see to that, but would change
//! what `return`, `?` and `break` mean. So the block stays as it is, and each of its own awaits becomes
//! `run(E, &mut guard).await`, which puts the scope away for as long as `E` is pending.
//!
//! Nested `async` blocks, closures and items are left alone: their awaits are not this block's.

mod macros;
mod select;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::{
    Attribute, Block, Expr, Item, Macro, Path, Stmt,
    visit_mut::{self, VisitMut},
};

use crate::diag::Errors;

/// Rewrites the awaits of one block.
pub(crate) struct Rewriter<'e> {
    payi: &'e Path,
    guard: &'e Ident,
    errors: &'e mut Errors,
    awaits: usize,
    /// Macros that could await where nobody sees it.
    unknown: Vec<(Span, String)>,
}

/// A name that user code can neither see nor shadow.
pub(crate) fn hidden(span: Span) -> Span {
    Span::mixed_site().located_at(span)
}

/// Rewrites `block`; whether it awaits.
pub(crate) fn block(payi: &Path, guard: &Ident, block: &mut Block, errors: &mut Errors) -> bool {
    let mut rewriter = Rewriter { payi, guard, errors, awaits: 0, unknown: Vec::new() };
    rewriter.visit_block_mut(block);
    rewriter.finish()
}

impl Rewriter<'_> {
    fn finish(self) -> bool {
        if self.awaits > 0 {
            for (span, name) in self.unknown {
                self.errors.at(
                    span,
                    format!(
                        "`track_context!` cannot see whether `{name}!` awaits inside; if it does not, write \
                         `payi::opaque!({name}!(..))`, if it does, move it to an `async fn` of its own"
                    ),
                );
            }
        }
        self.awaits > 0
    }

    /// `future`, awaited so that the scope is away whenever it is pending.
    fn run(&mut self, future: &impl ToTokens, dot_await: TokenStream, span: Span) -> TokenStream {
        self.awaits += 1;
        let (payi, guard) = (self.payi, self.guard);
        let run = quote_spanned!(hidden(span)=> #payi::__private::run(::core::future::IntoFuture::into_future(#future), &mut #guard));
        TokenStream::from_iter([run, dot_await])
    }

    /// What the macro becomes, if it must become something else.
    fn replace(&mut self, mac: &mut Macro) -> Option<TokenStream> {
        macros::rewrite(self, mac)
    }
}

/// What an expression has become, behind what stood in front of it: `#[cfg(..)]` as much as `#[allow(..)]`.
fn with_attributes(attrs: &[Attribute], tokens: TokenStream) -> Expr {
    Expr::Verbatim(attrs.iter().map(ToTokens::to_token_stream).chain([tokens]).collect())
}

impl VisitMut for Rewriter<'_> {
    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        match expr {
            // Futures and functions of their own.
            Expr::Async(_) | Expr::Closure(_) | Expr::Const(_) => {}
            Expr::Await(awaited) => {
                self.visit_expr_mut(&mut awaited.base);
                let (dot, word) = (&awaited.dot_token, &awaited.await_token);
                let dot_await = TokenStream::from_iter([dot.to_token_stream(), word.to_token_stream()]);
                let run = self.run(&awaited.base, dot_await, word.span);
                *expr = with_attributes(&awaited.attrs, run);
            }
            Expr::Macro(invocation) => {
                if let Some(tokens) = self.replace(&mut invocation.mac) {
                    // In parentheses, because it may be followed by a method call.
                    let tokens = quote_spanned!(Span::mixed_site()=> (#tokens));
                    *expr = with_attributes(&invocation.attrs, tokens);
                }
            }
            Expr::Yield(yields) => self.errors.at(
                yields.yield_token.span,
                "the scope would stay in force while others run after this `yield`; put `track_context!` around \
                 the calls only, or pass the whole stream through `.in_current_context()`",
            ),
            Expr::Verbatim(tokens) if macros::has_await(tokens.clone()) => {
                self.errors.push(syn::Error::new_spanned(tokens, "`track_context!` cannot read this expression, which awaits"));
            }
            other => visit_mut::visit_expr_mut(self, other),
        }
    }

    fn visit_stmt_mut(&mut self, stmt: &mut Stmt) {
        let Stmt::Macro(invocation) = stmt else { return visit_mut::visit_stmt_mut(self, stmt) };
        if let Some(tokens) = self.replace(&mut invocation.mac) {
            *stmt = Stmt::Expr(with_attributes(&invocation.attrs, tokens), invocation.semi_token);
        }
    }

    // What cannot await, and need not be walked.
    fn visit_item_mut(&mut self, _: &mut Item) {}
    fn visit_type_mut(&mut self, _: &mut syn::Type) {}
    fn visit_pat_mut(&mut self, _: &mut syn::Pat) {}
    fn visit_attribute_mut(&mut self, _: &mut Attribute) {}
    fn visit_path_mut(&mut self, _: &mut Path) {}
}
