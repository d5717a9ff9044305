//! `key = expr, ...`: the shape of the arguments. What they mean is judged in `model`.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Expr, Path, Token,
    ext::IdentExt,
    parse::{ParseStream, Parser, discouraged::Speculative},
    spanned::Spanned,
    token,
};

use crate::diag::Errors;

/// One `key = value`.
pub(crate) struct Arg {
    pub(crate) key: Ident,
    pub(crate) value: Expr,
}

impl Arg {
    /// As it should be written.
    fn written(&self) -> String {
        format!("{} = {}", self.key, self.value.to_token_stream())
    }
}

#[expect(clippy::struct_excessive_bools, reason = "four independent words of the user's")]
/// What the parentheses hold, as far as it has the right shape.
#[derive(Default)]
pub(crate) struct Args {
    pub(crate) list: Vec<Arg>,
    /// `crate = path`: where payi is, if not at `::payi`.
    pub(crate) payi: Option<Path>,
    /// `returns = ...`: what kind of value the function gives.
    pub(crate) returns: Option<Ident>,
    /// `allow_pii`: literals may look like personal data.
    pub(crate) allow_pii: bool,
    /// `skip`: leave this method alone.
    pub(crate) skip: Option<Span>,
    /// Whether nothing at all was written.
    pub(crate) bare: bool,
    /// Whether a body is to follow.
    pub(crate) has_body: bool,
    /// Whether there was an expression without a key, which has been reported.
    pub(crate) bare_expression: bool,
}

impl Args {
    /// Reads an attribute's arguments; a broken one is reported and skipped up to its comma.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self { bare: tokens.is_empty(), ..Self::default() };
        let parser = |input: ParseStream<'_>| {
            while !input.is_empty() {
                args.parse_one(input, errors);
                separator(input, &args.list, errors);
            }
            Ok(())
        };
        let parsed = parser.parse2(tokens);
        errors.ok(parsed);
        args
    }

    /// Reads one argument, up to what separates it from the next.
    pub(crate) fn parse_one(&mut self, input: ParseStream<'_>, errors: &mut Errors) {
        if let Err(error) = self.try_one(input) {
            errors.push(error);
            skip_to_separator(input);
        }
    }

    /// Something that is not `key = value`.
    fn no_key(&mut self, input: ParseStream<'_>) -> syn::Error {
        let ahead = input.fork();
        let Ok(value) = ahead.parse::<Expr>() else {
            return syn::Error::new(input.span(), "expected `key = value`");
        };
        input.advance_to(&ahead);
        self.bare_expression = true;
        let (text, is_last) = (value.to_token_stream().to_string(), input.is_empty() || is_last(input));
        let message = match &value {
            Expr::Closure(_) if self.has_body => {
                "the body is a block, not a closure: write `{ .. }`".to_owned()
            }
            _ if self.has_body && is_last => format!("the body is a block: write `{{ {text} }}`"),
            _ => format!("expected `key = value`, such as `user_id = {text}`"),
        };
        syn::Error::new_spanned(value, message)
    }

    fn try_one(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        if input.peek(Token![%]) || input.peek(Token![?]) {
            return Err(sigil(input));
        }
        if !starts_with_key(input) {
            return Err(self.no_key(input));
        }
        let key = Ident::parse_any(input)?;
        if key == "crate" {
            input.parse::<Token![=]>()?;
            let path = input.call(Path::parse_mod_style);
            let message = "`crate` takes a path, such as `crate = my_payi`";
            self.payi = Some(path.map_err(|error| syn::Error::new(error.span(), message))?);
        } else if key == "returns" && input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            self.returns = Some(input.parse()?);
        } else if key == "allow_pii" && ends(input) {
            self.allow_pii = true;
        } else if key == "skip" && ends(input) {
            self.skip = Some(key.span());
        } else {
            let value = parse_value(&key, input)?;
            self.list.push(Arg { key, value });
        }
        Ok(())
    }
}

/// Whether the next argument starts as `key`, `key = ..`, or one of the ways to write that wrongly.
fn starts_with_key(input: ParseStream<'_>) -> bool {
    if input.peek(Token![crate]) {
        return input.peek2(Token![=]);
    }
    let sets = input.peek2(Token![=]) && !input.peek2(Token![==]);
    let wrong = input.peek2(Token![:]) && !input.peek2(Token![::]);
    input.peek(syn::Ident)
        && (sets || wrong || input.peek2(Token![,]) || input.peek2(Token![;]) || is_last(input))
}

/// Whether one token is left.
fn is_last(input: ParseStream<'_>) -> bool {
    input.cursor().token_tree().is_some_and(|(_, rest)| rest.eof())
}

fn ends(input: ParseStream<'_>) -> bool {
    input.is_empty() || input.peek(Token![,]) || input.peek(Token![;])
}

/// Reads what follows a key.
fn parse_value(key: &Ident, input: ParseStream<'_>) -> syn::Result<Expr> {
    if ends(input) {
        // `key` alone means `key = key`.
        return syn::parse2(key.to_token_stream());
    }
    let wrong = if input.peek(Token![=>]) {
        Some((input.parse::<Token![=>]>()?.span(), "=>"))
    } else if input.peek(Token![:]) {
        Some((input.parse::<Token![:]>()?.span(), ":"))
    } else {
        input.parse::<Token![=]>()?;
        None
    };
    if input.peek(Token![%]) || input.peek(Token![?]) {
        return Err(sigil(input));
    }
    if ends(input) {
        return Err(without_value(key));
    }
    let value = parse_expr(key, input)?;
    match wrong {
        Some((span, token)) => Err(syn::Error::new(
            span,
            format!("`{token}` does not set a key; write `{key} = {}`", value.to_token_stream()),
        )),
        None => Ok(value),
    }
}

/// Reads a value, and sees where the comma between the last value and the body is missing.
fn parse_expr(key: &Ident, input: ParseStream<'_>) -> syn::Result<Expr> {
    let ahead = input.fork();
    if let Ok(value) = Expr::parse_without_eager_brace(&ahead)
        && ahead.peek(token::Brace)
        && is_last_argument(&ahead)
    {
        let text = value.to_token_stream().to_string();
        let message = format!("missing `,` before the block; write `{key} = {text}, {{ .. }}`");
        let span = ahead.span();
        // The block stays, so that it is not also found missing.
        input.advance_to(&ahead);
        return Err(syn::Error::new(span, message));
    }
    let needs_value = input.is_empty();
    input.parse().map_err(|error| if needs_value { without_value(key) } else { error })
}

fn without_value(key: &Ident) -> syn::Error {
    syn::Error::new(key.span(), format!("`{key}` needs a value: `{key} = ...`"))
}

/// Whether the next token is the last but for a comma.
fn is_last_argument(input: ParseStream<'_>) -> bool {
    input.cursor().token_tree().is_some_and(|(_, rest)| {
        rest.eof() || rest.punct().is_some_and(|(punct, rest)| punct.as_char() == ',' && rest.eof())
    })
}

/// `%x` and `?x` are tracing's.
fn sigil(input: ParseStream<'_>) -> syn::Error {
    let span = input.span();
    let parsed = input.parse::<TokenTree>().and_then(|sigil| Ok((sigil, input.parse::<Expr>()?)));
    syn::Error::new(
        span,
        match parsed {
            Ok((sigil, value)) => {
                let value = value.to_token_stream();
                format!(
                    "values have no `{sigil}`; write `{value}`, or `{value}.to_string()` for a type that only displays"
                )
            }
            Err(_) => "values have no sigil: write the expression alone".to_owned(),
        },
    )
}

/// Reads what stands between two arguments.
pub(crate) fn separator(input: ParseStream<'_>, before: &[Arg], errors: &mut Errors) {
    if input.is_empty() || input.peek(token::Brace) {
        return;
    }
    if let Ok(Some(_)) = input.parse::<Option<Token![,]>>() {
        return;
    }
    let span = input.span();
    if let Ok(Some(_)) = input.parse::<Option<Token![;]>>() {
        let corrected = before.last().map_or_else(String::new, Arg::written);
        errors.at(span, format!("arguments are separated by `,`; write `{corrected},`"));
        return;
    }
    let corrected = before.last().map_or_else(String::new, Arg::written);
    errors.at(span, format!("missing `,` between two arguments; write `{corrected},`"));
    skip_to_separator(input);
    let _ = input.parse::<Option<Token![,]>>();
}

/// Skips the rest of a broken argument. A block that ends the input stays: it is the body.
fn skip_to_separator(input: ParseStream<'_>) {
    let is_body = || input.peek(token::Brace) && is_last_argument(input);
    while !(ends(input) || is_body()) {
        let Ok(_) = input.parse::<TokenTree>() else { return };
    }
}
