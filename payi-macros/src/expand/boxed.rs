//! A body that is only `Box::pin(async move { .. })`, which is also what `async_trait` makes of a method:
//! the scope goes inside the box, so that there is one box, not two.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::{Expr, ExprAsync, ExprCall, Local, Pat, Path, Stmt, visit::Visit};

use crate::model::{Field, Pair, Value};

/// The call of `Box::pin`, if the body is only that.
pub(super) fn only_boxed(stmts: &[Stmt]) -> Option<(&ExprCall, &ExprAsync)> {
    let [Stmt::Expr(Expr::Call(call), None)] = stmts else { return None };
    let Expr::Path(function) = &*call.func else { return None };
    let mut last = function.path.segments.iter().rev().map(|segment| &segment.ident);
    let is_pin =
        last.next().is_some_and(|ident| ident == "pin") && last.next().is_some_and(|ident| ident == "Box");
    match call.args.first() {
        Some(Expr::Async(future)) if is_pin && call.args.len() == 1 => Some((call, future)),
        _ => None,
    }
}

pub(super) fn expand(
    payi: &Path,
    entries: &TokenStream,
    fields: &[Field],
    (call, future): (&ExprCall, &ExprAsync),
) -> TokenStream {
    let pin = &call.func;
    let future = with_uses(future, &names(fields));
    quote_spanned!(Span::mixed_site()=> #pin(#payi::__private::scoped(#entries, #future)))
}

/// `async_trait` moves every argument into the block with `let user = user;`. An argument that is there for
/// its attribution only would be unused in it: the value was read before, outside.
fn with_uses(future: &ExprAsync, used: &HashSet<Ident>) -> ExprAsync {
    let mut future = future.clone();
    let stmts = std::mem::take(&mut future.block.stmts);
    for stmt in stmts {
        let moved = moved(&stmt).filter(|name| used.contains(name)).cloned();
        future.block.stmts.push(stmt);
        if let Some(name) = moved {
            let tokens = quote_spanned!(Span::mixed_site()=> let _ = &#name;);
            future.block.stmts.push(Stmt::Expr(Expr::Verbatim(tokens), None));
        }
    }
    future
}

/// The `x` of `let x = x;`.
fn moved(stmt: &Stmt) -> Option<&Ident> {
    let Stmt::Local(Local { pat: Pat::Ident(pat), init: Some(init), .. }) = stmt else { return None };
    let Expr::Path(from) = &*init.expr else { return None };
    from.path.get_ident().filter(|from| **from == pat.ident)
}

/// Every variable that a value reads.
fn names(fields: &[Field]) -> HashSet<Ident> {
    struct Names(HashSet<Ident>);
    impl<'ast> Visit<'ast> for Names {
        fn visit_path(&mut self, path: &'ast Path) {
            self.0.extend(path.get_ident().cloned());
        }

        fn visit_macro(&mut self, mac: &'ast syn::Macro) {
            // `format!("{user}")` and `format!("{}", user)`.
            for token in mac.tokens.clone() {
                match token {
                    proc_macro2::TokenTree::Ident(ident) => drop(self.0.insert(ident)),
                    proc_macro2::TokenTree::Literal(text) => self.0.extend(captured(&text.to_string())),
                    _ => {}
                }
            }
        }
    }
    let mut names = Names(HashSet::new());
    for field in fields {
        match &field.value {
            Value::Literal(_) => {}
            Value::Expression(value) => names.visit_expr(value),
            Value::Items(items) => items.iter().for_each(|item| names.visit_expr(item)),
            Value::Pairs(pairs) => pairs.iter().for_each(|pair| match pair {
                Pair::Halves(key, value) => {
                    names.visit_expr(key);
                    names.visit_expr(value);
                }
                Pair::Whole(pair) => names.visit_expr(pair),
            }),
        }
    }
    names.0
}

/// The variables that a format string captures.
fn captured(text: &str) -> impl Iterator<Item = Ident> {
    let pieces = text.split('{').skip(1).filter_map(|piece| piece.split(['}', ':']).next());
    pieces.filter_map(|name| syn::parse_str::<Ident>(name).ok())
}
