//! What a literal gives away before the program runs.

use proc_macro2::Span;
use syn::{Expr, ExprLit, Lit, LitStr};

use crate::{
    diag::Errors,
    model::{Field, Pair, Value},
};

/// The longest name of a use case.
const LONGEST_NAME: usize = 64;

/// The literal text that an expression is.
pub(crate) fn text(value: &Expr) -> Option<&LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text),
        Expr::Group(group) => text(&group.expr),
        _ => None,
    }
}

/// Every literal text in the value, nested ones included.
fn texts(value: &Value) -> Vec<&LitStr> {
    fn of<'e>(expr: &'e Expr, found: &mut Vec<&'e LitStr>) {
        match expr {
            Expr::Array(array) => array.elems.iter().for_each(|e| of(e, found)),
            Expr::Tuple(tuple) => tuple.elems.iter().for_each(|e| of(e, found)),
            other => found.extend(text(other)),
        }
    }
    let mut found = Vec::new();
    match value {
        Value::Literal(expr) | Value::Expression(expr) => of(expr, &mut found),
        Value::Items(items) => items.iter().for_each(|item| of(item, &mut found)),
        Value::Pairs(pairs) => pairs.iter().for_each(|pair| {
            if let Pair::Halves(key, value) = pair {
                of(key, &mut found);
                of(value, &mut found);
            }
        }),
    }
    found
}

/// Reports every literal of the field that cannot be meant.
pub(crate) fn check(field: &Field, allow_pii: bool, errors: &mut Errors) {
    for text in texts(&field.value) {
        let value = text.value();
        let problem = match field.key.name {
            "use_case_name" => malformed_name(&value),
            "limit_ids" if value.contains(',') => Some(two_limits(&value)),
            _ => None,
        };
        if let Some(problem) = problem {
            errors.at(text.span(), problem);
        } else if !allow_pii && looks_like_email(&value) {
            errors.at(
                text.span(),
                "this looks like an e-mail address; ids are best anonymous and constant (`payi::UserId::pseudonym`). \
                 If it is meant, write `allow_pii` among the arguments",
            );
        }
    }
}

/// What is wrong with the name of a use case.
pub(crate) fn malformed_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a use case needs a name; to clear it write `use_case_name = payi::Clear`".to_owned());
    }
    let wrong = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-'));
    if let Some(wrong) = wrong {
        let suggestion: String =
            name.chars().map(|c| if c == wrong || !c.is_ascii() { '_' } else { c }).collect();
        let suggestion = match malformed_name(&suggestion) {
            None => format!("; for example `\"{suggestion}\"`"),
            Some(_) => String::new(),
        };
        return Some(format!(
            "a use case's name is made of letters, digits, `.`, `_` and `-`, not `{wrong}`{suggestion}"
        ));
    }
    (name.len() > LONGEST_NAME)
        .then(|| format!("a use case's name has at most {LONGEST_NAME} characters, this has {}", name.len()))
}

fn two_limits(value: &str) -> String {
    let parts: Vec<_> = value.split(',').map(|part| format!("\"{}\"", part.trim())).collect();
    format!("a limit id cannot hold a comma; write one string each: `[{}]`", parts.join(", "))
}

/// Whether it has the shape `name@host.tld`.
fn looks_like_email(text: &str) -> bool {
    let Some((name, host)) = text.split_once('@') else { return false };
    let Some((domain, tld)) = host.rsplit_once('.') else { return false };
    let plain =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == '@' || c == '/');
    plain(name) && plain(domain) && tld.len() >= 2 && tld.chars().all(char::is_alphabetic)
}

/// The literal given for the user, which changes with each request.
pub(crate) fn fixed_user(fields: &[Field]) -> Option<Span> {
    let user = fields.iter().find(|field| field.key.name == "user_id")?;
    match &user.value {
        Value::Literal(literal) => text(literal).map(LitStr::span),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_other_text() {
        for address in ["a@b.org", "first.last@mail.example.co"] {
            assert!(looks_like_email(address), "{address}");
        }
        for other in ["user@host", "@b.org", "a b@c.org", "npm@1.2.3", "https://a@b.org/x", "u-1"] {
            assert!(!looks_like_email(other), "{other}");
        }
    }

    #[test]
    fn a_name_is_refused_with_a_better_one() {
        assert_eq!(malformed_name("chat-v1.2_b"), None);
        assert!(malformed_name("my chat").is_some_and(|m| m.ends_with("for example `\"my_chat\"`")));
        assert!(malformed_name(&"x".repeat(65)).is_some_and(|m| m.ends_with("this has 65")));
        assert!(malformed_name("").is_some());
    }
}
