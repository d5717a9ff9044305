//! `track_context!(key = expr, ..., { body })`: its shape.

use proc_macro2::{Ident, Span, TokenStream};
use syn::{
    Block, Expr, ExprAsync, Path, Stmt, Token,
    ext::IdentExt,
    parse::{ParseStream, Parser},
    parse_quote, token,
};

use crate::{
    args::{self, Args},
    diag::Errors,
};

/// One invocation.
pub(crate) struct Invocation {
    /// Where payi is.
    pub(crate) payi: Path,
    /// The guard of the block around this one, if that is of the same function and awaits.
    pub(crate) outer: Option<Ident>,
    pub(crate) args: Args,
    /// `None` if it is wrong, which has been reported.
    pub(crate) body: Option<Body>,
}

/// What runs in the scope.
#[derive(Clone)]
pub(crate) enum Body {
    /// A block: its value is the macro's.
    Block(Block),
    /// An `async` block: the macro's value is a future that carries the scope.
    Async(ExprAsync),
}

impl Invocation {
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Option<Self> {
        let parser = |input: ParseStream<'_>| {
            let (payi, outer) = prefix(input)?;
            let mut args = Args { has_body: true, ..Args::default() };
            let body = arguments(input, &mut args, errors);
            Ok(Self { payi, outer, args, body })
        };
        let parsed = parser.parse2(tokens);
        errors.ok(parsed)
    }
}

/// `@crate path;` is written by the facade's own macro, `@guard ident;` by the block around.
fn prefix(input: ParseStream<'_>) -> syn::Result<(Path, Option<Ident>)> {
    let (mut payi, mut outer) = (parse_quote!(::payi), None);
    while input.parse::<Option<Token![@]>>()?.is_some() {
        if Ident::parse_any(input)? == "crate" {
            payi = input.call(Path::parse_mod_style)?;
        } else {
            outer = Some(input.parse()?);
        }
        input.parse::<Token![;]>()?;
    }
    Ok((payi, outer))
}

fn arguments(input: ParseStream<'_>, args: &mut Args, errors: &mut Errors) -> Option<Body> {
    while !input.is_empty() {
        if starts_a_body(input) {
            let body = body(input, errors);
            after(input, errors);
            return body;
        }
        args.parse_one(input, errors);
        args::separator(input, &args.list, errors);
    }
    missing(args, errors);
    None
}

fn starts_a_body(input: ParseStream<'_>) -> bool {
    input.peek(token::Brace)
        || (input.peek(Token![async])
            && (input.peek2(token::Brace) || (input.peek2(Token![move]) && input.peek3(token::Brace))))
}

fn body(input: ParseStream<'_>, errors: &mut Errors) -> Option<Body> {
    if input.peek(Token![async]) {
        return errors.ok(input.parse()).map(Body::Async);
    }
    let block: Block = errors.ok(input.parse())?;
    if let Some(Stmt::Expr(tail, None)) = block.stmts.last()
        && let Some(span) = escapes(tail)
    {
        errors.at(
            span,
            "this future would leave the block before it runs, and lose its scope; write \
             `track_context!(.., async move { .. })`, which gives a future that carries it, or `.await` it here",
        );
    }
    Some(Body::Block(block))
}

/// Where a block's tail is, literally, a future that nobody has polled.
fn escapes(tail: &Expr) -> Option<Span> {
    match tail {
        Expr::Async(future) => Some(future.async_token.span),
        Expr::Call(call) if call.args.len() == 1 && is_box_pin(&call.func) => escapes(&call.args[0]),
        // `async { }.boxed()` and its like; one that takes its scope along is well.
        Expr::MethodCall(call) if !call.method.to_string().ends_with("_context") => escapes(&call.receiver),
        Expr::Paren(paren) => escapes(&paren.expr),
        Expr::Group(group) => escapes(&group.expr),
        _ => None,
    }
}

fn is_box_pin(func: &Expr) -> bool {
    let Expr::Path(path) = func else { return false };
    let mut last = path.path.segments.iter().rev().map(|segment| &segment.ident);
    last.next().is_some_and(|ident| ident == "pin") && last.next().is_some_and(|ident| ident == "Box")
}

/// Only a comma may follow the body.
fn after(input: ParseStream<'_>, errors: &mut Errors) {
    let _ = input.parse::<Option<Token![,]>>();
    if !input.is_empty() {
        errors.at(input.span(), "the block is the last argument: nothing may follow it");
        let _ = input.parse::<TokenStream>();
    }
}

/// No block was found. Where an expression without a key was, it has been reported: it was meant to be one.
fn missing(args: &Args, errors: &mut Errors) {
    if args.bare_expression {
        return;
    }
    let (span, shown) = match args.list.last() {
        Some(arg) => (arg.key.span(), arg.key.to_string()),
        None => (Span::call_site(), "user_id".to_owned()),
    };
    errors.at(span, format!("the block is missing; write `track_context!({shown} = .., {{ .. }})`"));
}
