//! `select!`, tokio's and that of `futures`: branches are made and polled in the scope, handlers run in it.
//!
//! ```text
//! select! { p = f, if c => h, else => e }
//! ```
//!
//! becomes
//!
//! ```text
//! let if_0 = c;                       // in the scope, conditions first, as the macro has it
//! let init_0 = f;                     // by itself, for temporaries that `let` keeps alive
//! let branch_0 = branch(init_0);
//! let wait = wait(guard);
//! select! { p = same(branch_0), if if_0 => { over(wait); h } else => { over(wait); e } }
//! ```
//!
//! A branch that only names a future is borrowed by the `select!` of `futures` and moved by tokio's.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Expr, Macro, Pat, Path, Token,
    parse::{ParseStream, Parser},
    spanned::Spanned,
    token,
    visit_mut::VisitMut,
};

use super::{Rewriter, hidden};

mod word {
    syn::custom_keyword!(biased);
    syn::custom_keyword!(complete);
}

/// One `head => handler`.
struct Arm {
    head: Head,
    handler: Expr,
}

#[expect(clippy::large_enum_variant, reason = "lives for one arm")]
enum Head {
    /// `pattern = future`, perhaps with `, if condition`.
    Future { pattern: Pat, future: Expr, condition: Option<Expr> },
    /// `else`, `complete` or `default`.
    Otherwise(TokenStream),
}

/// `biased;`, if it is there.
pub(super) fn biased(input: ParseStream<'_>) -> syn::Result<Option<TokenStream>> {
    if !(input.peek(word::biased) && input.peek2(Token![;])) {
        return Ok(None);
    }
    let (word, semi) = (input.parse::<word::biased>()?, input.parse::<Token![;]>()?);
    Ok(Some(quote!(#word #semi)))
}

fn arms(input: ParseStream<'_>) -> syn::Result<(Option<TokenStream>, Vec<Arm>)> {
    let biased = biased(input)?;
    let mut arms = Vec::new();
    while !input.is_empty() {
        let head = if input.peek(Token![else]) || input.peek(Token![default]) || input.peek(word::complete) {
            let word: proc_macro2::TokenTree = input.parse()?;
            Head::Otherwise(word.into())
        } else {
            let pattern = input.call(Pat::parse_multi_with_leading_vert)?;
            input.parse::<Token![=]>()?;
            let future = input.parse()?;
            let condition = if input.peek(Token![,]) && input.peek2(Token![if]) {
                input.parse::<Token![,]>()?;
                input.parse::<Token![if]>()?;
                Some(input.parse()?)
            } else {
                None
            };
            Head::Future { pattern, future, condition }
        };
        input.parse::<Token![=>]>()?;
        let handler = if input.peek(token::Brace) {
            input.call(Expr::parse_with_earlier_boundary_rule)?
        } else {
            input.parse()?
        };
        let comma = input.parse::<Option<Token![,]>>()?;
        if comma.is_none() && !input.is_empty() && !matches!(handler, Expr::Block(_)) {
            return Err(input.error("expected `,`"));
        }
        arms.push(Arm { head, handler });
    }
    Ok((biased, arms))
}

/// Whether it must be the `select!` of `futures`, which borrows the futures that are named.
fn borrows(mac: &Macro, arms: &[Arm]) -> bool {
    let first = mac.path.segments.first().map(|segment| segment.ident.to_string());
    let last = mac.path.segments.last().map(|segment| segment.ident.to_string());
    first.is_some_and(|first| first.starts_with("futures"))
        || last.is_some_and(|last| last == "select_biased")
        || arms.iter().any(|arm| matches!(&arm.head, Head::Otherwise(word) if word.to_string() != "else"))
}

pub(super) fn rewrite(rewriter: &mut Rewriter<'_>, mac: &mut Macro) -> Option<TokenStream> {
    let Ok((biased, arms)) = arms.parse2(mac.tokens.clone()) else {
        // The macro itself says what is wrong with it, unless it is another `select!` altogether.
        rewriter.unknown.push((mac.path.span(), "select".to_owned()));
        return None;
    };
    let borrows = borrows(mac, &arms);
    let span = mac.path.segments.last().map_or_else(Span::call_site, |segment| segment.ident.span());
    rewriter.awaits += 1;
    let (payi, guard) = (rewriter.payi, rewriter.guard);
    let wait = Ident::new("__payi_wait", hidden(span));
    let name = |what: &str, n: usize| format_ident!("__payi_{what}_{n}", span = hidden(span));
    let (mut conditions, mut inits, mut branches) =
        (TokenStream::new(), TokenStream::new(), TokenStream::new());
    let mut out = TokenStream::new();
    for (n, Arm { head, mut handler }) in arms.into_iter().enumerate() {
        rewriter.visit_expr_mut(&mut handler);
        let head = match head {
            Head::Otherwise(word) => word,
            Head::Future { pattern, mut future, condition } => {
                let condition = condition.map(|mut condition| {
                    rewriter.visit_expr_mut(&mut condition);
                    let name = name("if", n);
                    conditions.extend(quote_spanned!(hidden(span)=> let #name = #condition;));
                    quote!(, if #name)
                });
                rewriter.visit_expr_mut(&mut future);
                let (init, branch) = (name("init", n), name("branch", n));
                let borrow = (borrows && matches!(future, Expr::Path(_))).then(|| quote!(&mut));
                inits.extend(quote_spanned!(hidden(span)=> let #init = #borrow #future;));
                branches
                    .extend(quote_spanned!(hidden(span)=> let #branch = #payi::__private::branch(#init);));
                let branch = quote_spanned!(hidden(span)=> #payi::__private::same(#branch));
                quote!(#pattern = #branch #condition)
            }
        };
        let handler = resumed(payi, &wait, &handler, span);
        out.extend(quote!(#head => #handler));
    }
    mac.tokens = quote!(#biased #out);
    Some(quote_spanned! {hidden(span)=> {
        #conditions
        #inits
        #branches
        let #wait = #payi::__private::wait(&mut #guard);
        #mac
    }})
}

/// The handler, in the scope again.
fn resumed(payi: &Path, wait: &Ident, handler: &Expr, span: Span) -> TokenStream {
    let resume = quote_spanned!(hidden(span)=> #payi::__private::Wait::over(#wait););
    match handler {
        Expr::Block(block) if block.attrs.is_empty() && block.label.is_none() => {
            let stmts = &block.block.stmts;
            quote!({ #resume #(#stmts)* })
        }
        other => quote!({ #resume #other }),
    }
}
