//! Macros hide their tokens: which ones are read, and how.

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Expr, Macro, Token,
    parse::{ParseStream, Parser},
    punctuated::Punctuated,
    visit_mut::VisitMut,
};

use super::{Rewriter, hidden, select};
use crate::{block::Invocation, diag::Errors, keys};

/// How a macro treats what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Evaluates expressions where it stands.
    Expressions,
    /// Makes something with a body of its own, as an `async` block does.
    OwnBody,
    /// Awaits several futures together.
    Join,
    /// Awaits the first of several futures.
    Select,
    /// Gives control away once, for itself.
    Pending,
    /// A scope inside this one.
    Scope,
    /// The user vouches that it does not await.
    Opaque,
}

const STD: &[&str] = &["std", "core", "alloc"];
const FUTURES: &[&str] = &["futures", "futures_util", "futures_lite"];
const TOKIO_OR_FUTURES: &[&str] = &["tokio", "futures", "futures_util"];
const LOGGING: &[&str] = &["tracing", "log"];

/// Every macro that is entered: its names, the crates it may be named through, and what it does. A name
/// without a path is looked up by itself, as `use` would have it.
const TABLE: &[(&[&str], &[&str], Known)] = &[
    (
        &[
            "format",
            "format_args",
            "print",
            "println",
            "eprint",
            "eprintln",
            "write",
            "writeln",
            "panic",
            "todo",
            "unimplemented",
            "unreachable",
            "assert",
            "assert_eq",
            "assert_ne",
            "debug_assert",
            "debug_assert_eq",
            "debug_assert_ne",
            "dbg",
            "vec",
            "matches",
            "concat",
            "stringify",
            "env",
            "option_env",
            "include_str",
            "include_bytes",
            "include",
            "line",
            "column",
            "file",
            "module_path",
            "cfg",
            "compile_error",
            "ready",
            "pin",
            "addr_of",
            "addr_of_mut",
            "is_x86_feature_detected",
            "offset_of",
        ],
        STD,
        Known::Expressions,
    ),
    (&["thread_local"], STD, Known::OwnBody),
    (&["pin", "task_local"], &["tokio"], Known::Expressions),
    (&["ready", "pin_mut", "poll", "stream_select"], FUTURES, Known::Expressions),
    (&["join", "try_join"], &["tokio", "futures", "futures_util", "std", "core"], Known::Join),
    (&["select", "select_biased"], TOKIO_OR_FUTURES, Known::Select),
    (&["pending"], FUTURES, Known::Pending),
    (
        &[
            "event",
            "trace",
            "debug",
            "info",
            "warn",
            "error",
            "log",
            "log_enabled",
            "enabled",
            "event_enabled",
            "span",
            "trace_span",
            "debug_span",
            "info_span",
            "warn_span",
            "error_span",
        ],
        LOGGING,
        Known::Expressions,
    ),
    (&["stream", "try_stream"], &["async_stream", "async_fn_stream"], Known::OwnBody),
    (&["json"], &["serde_json"], Known::Expressions),
    (&["anyhow", "bail", "ensure", "eyre"], &["anyhow", "eyre", "color_eyre"], Known::Expressions),
    (&["counter", "gauge", "histogram"], &["metrics"], Known::Expressions),
    (&["track_context"], &[], Known::Scope),
    (&["opaque"], &[], Known::Opaque),
];

fn known(mac: &Macro) -> Option<Known> {
    let segments: Vec<_> = mac.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    let (name, path) = segments.split_last()?;
    let krate = path.first();
    let row = TABLE.iter().find(|(names, crates, _)| {
        names.contains(&name.as_str())
            && (krate.is_none_or(|krate| crates.is_empty() || crates.contains(&krate.as_str())))
    });
    // Imported under another name, a scope still looks like one.
    row.map(|row| row.2).or_else(|| looks_like_a_scope(mac.tokens.clone()).then_some(Known::Scope))
}

/// Whether the tokens are a key of ours, set, and at last a block.
fn looks_like_a_scope(tokens: TokenStream) -> bool {
    let mut tokens = tokens.into_iter();
    let key = matches!(tokens.next(), Some(TokenTree::Ident(key)) if keys::find(&key.to_string()).is_some());
    let set = matches!(tokens.next(), Some(TokenTree::Punct(punct)) if matches!(punct.as_char(), '=' | ','));
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    let last = tokens.filter(|token| !is_comma(token)).last();
    key && set && matches!(last, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace)
}

/// Rewrites the awaits in the macro's tokens; what it becomes, where it cannot stay a macro.
pub(super) fn rewrite(rewriter: &mut Rewriter<'_>, mac: &mut Macro) -> Option<TokenStream> {
    match known(mac) {
        Some(Known::Expressions) => expressions(rewriter, mac),
        Some(Known::OwnBody) => {}
        Some(Known::Scope) => scope(rewriter, mac),
        Some(Known::Join) => return join(rewriter, mac),
        Some(Known::Select) => return select::rewrite(rewriter, mac),
        Some(Known::Pending) => return Some(suspended(rewriter, mac.span(), &TokenStream::new(), mac)),
        Some(Known::Opaque) if !has_await(mac.tokens.clone()) => {}
        Some(Known::Opaque) => {
            rewriter.errors.at(mac.span(), "`opaque!` holds an `await`, so it is not for this macro");
        }
        None => unknown(rewriter, mac),
    }
    None
}

fn unknown(rewriter: &mut Rewriter<'_>, mac: &Macro) {
    let name = name(mac);
    if has_await(mac.tokens.clone()) {
        rewriter.errors.at(
            mac.span(),
            format!(
                "`track_context!` cannot see how `{name}!` awaits; bind the awaited value with `let` before it, or \
                 move the macro to an `async fn` of its own"
            ),
        );
    } else {
        rewriter.unknown.push((mac.span(), name));
    }
}

fn name(mac: &Macro) -> String {
    mac.path.to_token_stream().to_string().replace(' ', "")
}

trait Spanned {
    fn span(&self) -> Span;
}

impl Spanned for Macro {
    fn span(&self) -> Span {
        self.path.segments.last().map_or_else(Span::call_site, |segment| segment.ident.span())
    }
}

/// Rewrites arguments that are evaluated where they stand.
fn expressions(rewriter: &mut Rewriter<'_>, mac: &mut Macro) {
    // Most macros hold neither, and are left as they are.
    if !has_await(mac.tokens.clone()) && !has_macro(mac.tokens.clone()) {
        return;
    }
    match list.parse2(mac.tokens.clone()) {
        Ok((mut values, rest)) => {
            values.iter_mut().for_each(|value| rewriter.visit_expr_mut(value));
            mac.tokens = values.to_token_stream();
            mac.tokens.extend(rest);
        }
        Err(_) if has_await(mac.tokens.clone()) => rewriter.errors.at(
            mac.span(),
            format!("`track_context!` cannot read the arguments of `{}!`, which await; bind the awaited value with `let` before it", name(mac)),
        ),
        Err(_) => {}
    }
}

/// `a, b, c`, `a; n` or the `a, pattern` of `matches!`: the expressions, and what follows them.
fn list(input: ParseStream<'_>) -> syn::Result<(Punctuated<Expr, Token![,]>, TokenStream)> {
    let mut values = Punctuated::new();
    while !input.is_empty() {
        values.push_value(input.parse::<Expr>()?);
        if input.peek(Token![;]) {
            return Ok((values, input.parse()?));
        }
        let Some(comma) = input.parse::<Option<Token![,]>>()? else { break };
        values.push_punct(comma);
        let ahead = input.fork();
        let is_expression = Punctuated::<Expr, Token![,]>::parse_terminated(&ahead).is_ok();
        if !is_expression {
            let rest: TokenStream = input.parse()?;
            if has_await(rest.clone()) {
                return Err(input.error("an await among other tokens"));
            }
            return Ok((values, rest));
        }
    }
    if input.is_empty() {
        Ok((values, TokenStream::new()))
    } else {
        Err(input.error("expected an expression"))
    }
}

/// A scope inside this one, in the same function: its guard leaves and comes back with ours.
fn scope(rewriter: &mut Rewriter<'_>, mac: &mut Macro) {
    let mut errors = Errors::new();
    let parsed = Invocation::parse(mac.tokens.clone(), &mut errors);
    if errors.finish().is_some() {
        // It will say so itself.
        return;
    }
    let Some(mut inner) = parsed else { return };
    let before = rewriter.awaits;
    inner.args.list.iter_mut().for_each(|arg| rewriter.visit_expr_mut(&mut arg.value));
    let in_values = rewriter.awaits > before;
    let awaits = inner.awaits();
    if !in_values && !awaits {
        return;
    }
    rewriter.awaits += usize::from(awaits);
    let guard = rewriter.guard;
    let tokens = if in_values { inner.into_token_stream() } else { mac.tokens.clone() };
    mac.tokens = if awaits { quote!(@guard #guard; #tokens) } else { tokens };
}

/// `join!(a, b)`: every branch is made and polled in the scope, which is away while they wait.
fn join(rewriter: &mut Rewriter<'_>, mac: &mut Macro) -> Option<TokenStream> {
    let parser = |input: ParseStream<'_>| {
        let biased = select::biased(input)?;
        Ok((biased, Punctuated::<Expr, Token![,]>::parse_terminated(input)?))
    };
    let Ok((biased, branches)) = parser.parse2(mac.tokens.clone()) else {
        // The macro itself says what is wrong with it.
        return None;
    };
    let span = mac.span();
    let payi = rewriter.payi;
    let mut made = TokenStream::new();
    let mut names = Vec::new();
    for (n, mut branch) in branches.into_iter().enumerate() {
        rewriter.visit_expr_mut(&mut branch);
        let name = format_ident!("__payi_branch_{n}", span = hidden(span));
        made.extend(quote_spanned!(hidden(span)=> let #name = #payi::__private::branch(#branch);));
        names.push(name);
    }
    mac.tokens = quote!(#biased #(#names),*);
    Some(suspended(rewriter, span, &made, mac))
}

/// The macro with the scope away around it; what `first` makes is made in the scope.
fn suspended(rewriter: &mut Rewriter<'_>, span: Span, first: &TokenStream, mac: &Macro) -> TokenStream {
    rewriter.awaits += 1;
    let (payi, guard) = (rewriter.payi, rewriter.guard);
    let value = Ident::new("__payi_value", hidden(span));
    let wait = Ident::new("__payi_wait", hidden(span));
    quote_spanned! {hidden(span)=> {
        #first
        let #wait = #payi::__private::wait(&mut #guard);
        let #value = #mac;
        #payi::__private::Wait::over(#wait);
        #value
    }}
}

/// Whether the tokens hold an `await` that belongs to the code around them.
pub(super) fn has_await(tokens: TokenStream) -> bool {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word == "await" => return true,
            TokenTree::Ident(word) if word == "async" => {
                // Skips the body of an `async` block or closure: its awaits are its own.
                let mut bars = 0;
                while let Some(next) = tokens.peek() {
                    let is_word = matches!(next, TokenTree::Ident(word) if word == "move");
                    let is_bar = matches!(next, TokenTree::Punct(punct) if punct.as_char() == '|');
                    let is_body =
                        matches!(next, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
                    if is_body {
                        tokens.next();
                        break;
                    }
                    bars += usize::from(is_bar);
                    if !(is_word || is_bar || bars == 1) {
                        break;
                    }
                    tokens.next();
                }
            }
            TokenTree::Group(group) if has_await(group.stream()) => return true,
            _ => {}
        }
    }
    false
}

/// Whether the tokens invoke a macro.
fn has_macro(tokens: TokenStream) -> bool {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(_) => {
                let bang = matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == '!');
                if bang {
                    tokens.next();
                    if matches!(tokens.peek(), Some(TokenTree::Group(_))) {
                        return true;
                    }
                }
            }
            TokenTree::Group(group) if has_macro(group.stream()) => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awaits_of_inner_futures_are_not_ours() {
        for (ours, tokens) in [
            (true, quote!(x.await)),
            (true, quote!(f(async { 1 }, x.await))),
            (true, quote!(json({ "a": [x.await] }))),
            (false, quote!(async { x.await })),
            (false, quote!(spawn(async move { x.await }))),
            (false, quote!(map(async |x: u8| { x.await }))),
            (false, quote!(awaits)),
        ] {
            assert_eq!(has_await(tokens.clone()), ours, "{tokens}");
        }
    }
}
