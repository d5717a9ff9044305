//! The arguments, once they are known to make sense.

use proc_macro2::Ident;
use syn::{Expr, ExprLit, Lit, UnOp, spanned::Spanned};

use crate::{
    args::{Arg, Args},
    diag::Errors,
    keys::{self, Key, Kind},
    literals,
};

/// A key that exists, once, with a value of a form it accepts.
pub(crate) struct Field {
    pub(crate) key: &'static Key,
    pub(crate) ident: Ident,
    pub(crate) value: Value,
}

/// What is written for a key.
pub(crate) enum Value {
    /// A literal, or an array of nothing else.
    Literal(Expr),
    /// An array written in place, of which each part is borrowed by itself.
    Items(Vec<Expr>),
    /// An array of pairs written in place.
    Pairs(Vec<Pair>),
    /// Any other expression.
    Expression(Expr),
}

/// An element of an array of pairs.
pub(crate) enum Pair {
    /// `(key, value)`, of which each half is borrowed by itself.
    Halves(Expr, Expr),
    /// Anything else that is a pair.
    Whole(Expr),
}

/// Checks every argument; those that are wrong are reported and left out.
pub(crate) fn check(args: Args, errors: &mut Errors) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::with_capacity(args.list.len());
    for Arg { key: ident, value } in args.list {
        let Some(key) = keys::find(&ident.to_string()) else {
            errors.push(keys::unknown(&ident));
            continue;
        };
        if fields.iter().any(|field| field.ident == ident) {
            errors.at(ident.span(), format!("`{ident}` is set twice"));
            continue;
        }
        if let Some(value) = Value::of(key, value, errors) {
            let field = Field { key, ident, value };
            literals::check(&field, args.allow_pii, errors);
            fields.push(field);
        }
    }
    fields
}

impl Value {
    fn of(key: &Key, value: Expr, errors: &mut Errors) -> Option<Self> {
        let value = plain(value);
        match key.kind {
            Kind::Text if literals::text(&value).is_some() => Some(Self::Literal(value)),
            Kind::Text => Some(Self::Expression(value)),
            Kind::Version => Self::version(value, errors),
            Kind::Flag => Self::flag(key, value, errors),
            Kind::List => Self::list(key, value, errors),
            Kind::Map => Self::map(key, value, errors),
        }
    }

    fn version(value: Expr, errors: &mut Errors) -> Option<Self> {
        let wrong = match &value {
            Expr::Lit(ExprLit { lit: Lit::Int(int), .. }) => match int.base10_parse::<u32>() {
                Ok(_) if matches!(int.suffix(), "" | "u32") => return Some(Self::Literal(value)),
                Ok(number) => format!("a version is a `u32`; write `{number}`"),
                Err(_) => format!("a version is a `u32`, at most {}", u32::MAX),
            },
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if text.value().parse::<u32>().is_ok() => {
                format!("a version is a number; write `{}`", text.value())
            }
            Expr::Lit(_) => "a version is a whole number: a `u32`".to_owned(),
            Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) && matches!(*unary.expr, Expr::Lit(_)) => {
                "a version is a `u32`, which is never negative".to_owned()
            }
            _ => return Some(Self::Expression(value)),
        };
        errors.push(syn::Error::new_spanned(value, wrong));
        None
    }

    fn flag(key: &Key, value: Expr, errors: &mut Errors) -> Option<Self> {
        match &value {
            Expr::Lit(ExprLit { lit: Lit::Bool(_), .. }) => Some(Self::Literal(value)),
            Expr::Lit(_) => {
                errors.push(syn::Error::new_spanned(value, format!("`{}` is `true` or `false`", key.name)));
                None
            }
            _ => Some(Self::Expression(value)),
        }
    }

    fn list(key: &Key, value: Expr, errors: &mut Errors) -> Option<Self> {
        match elements(value) {
            Ok(items) if items.iter().all(|item| literals::text(item).is_some()) => {
                Some(Self::Literal(array(items)))
            }
            Ok(items) => Some(Self::Items(items)),
            Err(Expr::Lit(literal)) => {
                let text = quote::quote!(#literal);
                let message = format!("`{0}` takes a list; write `{0} = [{text}]`", key.name);
                errors.at(literal.span(), message);
                None
            }
            Err(other) => Some(Self::Expression(other)),
        }
    }

    fn map(key: &Key, value: Expr, errors: &mut Errors) -> Option<Self> {
        let items = match elements(value) {
            Ok(items) => items,
            Err(other @ (Expr::Lit(_) | Expr::Tuple(_))) => {
                let message = format!("`{0}` takes pairs; write `{0} = [(\"name\", value)]`", key.name);
                errors.push(syn::Error::new_spanned(other, message));
                return None;
            }
            Err(other) => return Some(Self::Expression(other)),
        };
        if items.iter().all(literal_pair) {
            return Some(Self::Literal(array(items)));
        }
        let pairs = items.into_iter().filter_map(|item| match pair(item) {
            Err(literal @ Expr::Lit(_)) => {
                errors.push(syn::Error::new_spanned(literal, "expected a pair: `(\"name\", value)`"));
                None
            }
            Err(other) => Some(Pair::Whole(other)),
            Ok((key, value)) => Some(Pair::Halves(key, value)),
        });
        Some(Self::Pairs(pairs.collect()))
    }
}

/// The expression without the invisible groups that `macro_rules!` puts around its arguments, and
/// without parentheses.
fn plain(value: Expr) -> Expr {
    match value {
        Expr::Group(group) if group.attrs.is_empty() => plain(*group.expr),
        Expr::Paren(paren) if paren.attrs.is_empty() => plain(*paren.expr),
        other => other,
    }
}

/// The elements of an array, or of a reference to one, that is written in place.
#[expect(clippy::result_large_err, reason = "the other case, not an error")]
fn elements(value: Expr) -> Result<Vec<Expr>, Expr> {
    match value {
        Expr::Array(array) => Ok(array.elems.into_iter().map(plain).collect()),
        Expr::Reference(reference)
            if matches!(*reference.expr, Expr::Array(_)) && reference.mutability.is_none() =>
        {
            elements(*reference.expr)
        }
        other => Err(other),
    }
}

fn array(elements: Vec<Expr>) -> Expr {
    Expr::Array(syn::ExprArray {
        attrs: Vec::new(),
        bracket_token: syn::token::Bracket::default(),
        elems: elements.into_iter().collect(),
    })
}

#[expect(clippy::result_large_err, reason = "the other case, not an error")]
fn pair(item: Expr) -> Result<(Expr, Expr), Expr> {
    match item {
        Expr::Tuple(tuple) if tuple.elems.len() == 2 => {
            let mut halves = tuple.elems.into_iter().map(plain);
            match (halves.next(), halves.next()) {
                (Some(key), Some(value)) => Ok((key, value)),
                _ => unreachable!("a tuple of two has two elements"),
            }
        }
        other => Err(other),
    }
}

fn literal_pair(item: &Expr) -> bool {
    matches!(item, Expr::Tuple(tuple)
        if tuple.elems.len() == 2 && tuple.elems.iter().all(|half| literals::text(half).is_some()))
}
