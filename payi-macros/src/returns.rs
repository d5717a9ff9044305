//! What kind of value a function returns: one that is done, or one that runs later and has to take the
//! scope along.
//!
//! A macro sees names, not types. So the kinds are told by the last segment of the path, and where that
//! says too little the user is asked: `returns = future | stream | iter | value`.

use proc_macro2::Ident;
use syn::{
    GenericArgument, PathArguments, PathSegment, ReturnType, Type, TypeParamBound, punctuated::Punctuated,
    spanned::Spanned, token::Plus, visit::Visit,
};

/// What is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returns {
    /// A value that is done when it is returned.
    Value,
    /// Something that runs later.
    Later(Wrap),
    /// A `Result` or an `Option` of something that runs later.
    Inside(Sum, Wrap),
}

/// What the wrapped value is put into, to be of the declared type again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrap {
    /// Nothing: the type is `impl Trait`.
    Bare,
    /// `Box::new`.
    Boxed,
    /// `Box::pin`.
    Pinned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    Result,
    Option,
}

/// What runs later, by the last segment of its trait.
const LATER: &[&str] = &[
    "Future",
    "FusedFuture",
    "TryFuture",
    "Stream",
    "FusedStream",
    "TryStream",
    "Iterator",
    "DoubleEndedIterator",
    "ExactSizeIterator",
    "FusedIterator",
];

/// Aliases of boxed futures and streams.
const ALIASES: &[&str] = &["BoxFuture", "LocalBoxFuture", "BoxStream", "LocalBoxStream"];

/// How a type is called that may well run later.
const SUSPECT: &[&str] = &["Future", "Fut", "Stream", "Iterator", "Iter"];

/// What the function returns, by what is said in `returns = ..`, else by its type.
pub(crate) fn of(output: &ReturnType, said: Option<&Ident>) -> syn::Result<Returns> {
    let ReturnType::Type(_, ty) = output else {
        return match said {
            Some(said) if said != "value" => {
                Err(syn::Error::new(said.span(), "the function returns nothing"))
            }
            _ => Ok(Returns::Value),
        };
    };
    match said {
        Some(said) => as_said(ty, said),
        None => by_type(ty),
    }
}

fn as_said(ty: &Type, said: &Ident) -> syn::Result<Returns> {
    let word = said.to_string();
    if word == "value" {
        return Ok(Returns::Value);
    }
    if !matches!(word.as_str(), "future" | "stream" | "iter") {
        let message = format!("`returns` is one of `future`, `stream`, `iter`, `value`, not `{word}`");
        return Err(syn::Error::new(said.span(), message));
    }
    // A named type is taken for an alias of a box: a wrapper cannot be of any other named type.
    let wrap = |ty: &Type| match known(ty) {
        Some(wrap) => wrap,
        None if matches!(ty, Type::ImplTrait(_)) => Wrap::Bare,
        None if word == "iter" => Wrap::Boxed,
        None => Wrap::Pinned,
    };
    Ok(match sum(ty) {
        Some((sum, inner)) => Returns::Inside(sum, wrap(inner)),
        None => Returns::Later(wrap(ty)),
    })
}

fn by_type(ty: &Type) -> syn::Result<Returns> {
    if let Some(wrap) = known(ty) {
        return Ok(Returns::Later(wrap));
    }
    if let Some((sum, inner)) = sum(ty) {
        return match known(inner) {
            Some(wrap) => Ok(Returns::Inside(sum, wrap)),
            None => undecided(inner).map_or(Ok(Returns::Value), Err),
        };
    }
    undecided(ty).map_or(Ok(Returns::Value), Err)
}

/// How to wrap what is known to run later.
fn known(ty: &Type) -> Option<Wrap> {
    match ty {
        Type::ImplTrait(it) => later(&it.bounds).then_some(Wrap::Bare),
        Type::Paren(it) => known(&it.elem),
        Type::Group(it) => known(&it.elem),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let name = last.ident.to_string();
            if ALIASES.contains(&name.as_str()) {
                return Some(Wrap::Pinned);
            }
            match name.as_str() {
                "Pin" => boxed(argument(last)?).then_some(Wrap::Pinned),
                "Box" => later_object(argument(last)?).then_some(Wrap::Boxed),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether it is `Box<dyn Future>` or the like.
fn boxed(ty: &Type) -> bool {
    last(ty).is_some_and(|last| last.ident == "Box" && argument(last).is_some_and(later_object))
}

fn later_object(ty: &Type) -> bool {
    match ty {
        Type::TraitObject(object) => later(&object.bounds),
        Type::Paren(it) => later_object(&it.elem),
        Type::Group(it) => later_object(&it.elem),
        _ => false,
    }
}

fn later(bounds: &Punctuated<TypeParamBound, Plus>) -> bool {
    bounds.iter().any(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return false };
        bound.path.segments.last().is_some_and(|last| LATER.iter().any(|name| last.ident == name))
    })
}

fn last(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        Type::Paren(it) => last(&it.elem),
        Type::Group(it) => last(&it.elem),
        _ => None,
    }
}

/// The first type argument.
fn argument(segment: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn sum(ty: &Type) -> Option<(Sum, &Type)> {
    let last = last(ty)?;
    let sum = match last.ident.to_string().as_str() {
        "Result" => Sum::Result,
        "Option" => Sum::Option,
        _ => return None,
    };
    Some((sum, argument(last)?))
}

/// Asks, where the type may hold something that runs later, in a place or under a name that says nothing.
fn undecided(ty: &Type) -> Option<syn::Error> {
    let mut find = Find::default();
    find.visit_type(ty);
    let Found { span, what, is_part } = find.0?;
    let message = if is_part || !matches!(ty, Type::ImplTrait(_) | Type::Path(_)) {
        format!(
            "`{what}` is a part of what is returned, where no scope can be put around it; return it by itself, or \
             in a type called `Result` or `Option`, or say `returns = value` and let whoever runs it open the scope"
        )
    } else {
        format!(
            "is `{what}` done when it is returned, or does it run later? Say `returns = value`, or else `future`, \
             `stream` or `iter`"
        )
    };
    Some(syn::Error::new(if what.is_empty() { ty.span() } else { span }, message))
}

/// The first thing in a type that may run later.
#[derive(Default)]
struct Find(Option<Found>);

struct Found {
    span: proc_macro2::Span,
    what: String,
    /// It is among the arguments of another type.
    is_part: bool,
}

impl Find {
    fn at(&mut self, ty: &Type, is_part: bool) {
        let (span, what) = match ty {
            Type::ImplTrait(it) => {
                let name = it.bounds.iter().find_map(|bound| match bound {
                    TypeParamBound::Trait(bound) => bound.path.segments.last(),
                    _ => None,
                });
                (it.impl_token.span, name.map_or_else(String::new, |last| format!("impl {}", last.ident)))
            }
            _ => last(ty).map_or_else(
                || (ty.span(), String::new()),
                |last| (last.ident.span(), last.ident.to_string()),
            ),
        };
        self.0.get_or_insert(Found { span, what, is_part });
    }

    /// What stands in the arguments belongs to a type that is done, unless it surely runs later.
    fn in_arguments(&mut self, ty: &Type) {
        let Some(last) = last(ty) else { return };
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return };
        for argument in &arguments.args {
            match argument {
                GenericArgument::Type(ty) if known(ty).is_some() => self.at(ty, true),
                GenericArgument::Type(ty) => self.in_arguments(ty),
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Find {
    fn visit_type(&mut self, ty: &'ast Type) {
        match ty {
            Type::ImplTrait(_) => self.at(ty, false),
            Type::Path(_) => {
                let name = last(ty).map(|last| last.ident.to_string()).unwrap_or_default();
                if SUSPECT.iter().any(|suspect| name.ends_with(suspect)) || name == "Pin" {
                    self.at(ty, false);
                }
                self.in_arguments(ty);
            }
            Type::BareFn(_) | Type::Reference(_) | Type::Ptr(_) => {}
            other => syn::visit::visit_type(self, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "given by parse_quote!")]
    fn returns(output: ReturnType) -> Option<Returns> {
        of(&output, None).ok()
    }

    #[test]
    fn kinds_are_told_by_the_last_segment() {
        let later = |wrap| Some(Returns::Later(wrap));
        assert_eq!(returns(parse_quote!()), Some(Returns::Value));
        assert_eq!(returns(parse_quote!(-> Result<String, Error>)), Some(Returns::Value));
        assert_eq!(returns(parse_quote!(-> Box<dyn Fn(u8) -> BoxFuture<'static, u8>>)), Some(Returns::Value));
        assert_eq!(returns(parse_quote!(-> Option<HashMap<String, Vec<u8>>>)), Some(Returns::Value));
        assert_eq!(returns(parse_quote!(-> impl Future<Output = u8> + Send)), later(Wrap::Bare));
        assert_eq!(returns(parse_quote!(-> impl Send + futures::Stream<Item = u8>)), later(Wrap::Bare));
        assert_eq!(returns(parse_quote!(-> Box<dyn Iterator<Item = u8> + '_>)), later(Wrap::Boxed));
        assert_eq!(
            returns(
                parse_quote!(-> ::core::pin::Pin<Box<dyn ::core::future::Future<Output = u8> + Send + 'a>>)
            ),
            later(Wrap::Pinned)
        );
        assert_eq!(returns(parse_quote!(-> BoxStream<'static, u8>)), later(Wrap::Pinned));
        assert_eq!(
            returns(parse_quote!(-> Result<impl Stream<Item = u8>, Error>)),
            Some(Returns::Inside(Sum::Result, Wrap::Bare))
        );
        assert_eq!(
            returns(parse_quote!(-> Option<BoxFuture<'_, u8>>)),
            Some(Returns::Inside(Sum::Option, Wrap::Pinned))
        );
    }

    #[test]
    fn what_is_not_known_is_asked_for() {
        for output in [
            parse_quote!(-> impl Service),
            parse_quote!(-> ResponseFuture),
            parse_quote!(-> Result<CompletionStream, Error>),
            parse_quote!(-> (u8, impl Stream<Item = u8>)),
            parse_quote!(-> Pin<Box<Odd>>),
            parse_quote!(-> MyResult<impl Stream<Item = u8>>),
            parse_quote!(-> Result<Option<BoxStream<'static, u8>>, Error>),
            parse_quote!(-> Arc<Mutex<Vec<BoxFuture<'static, u8>>>>),
        ] {
            assert_eq!(returns(output), None);
        }
        let said = |word: &str| Ident::new(word, proc_macro2::Span::call_site());
        let alias: ReturnType = parse_quote!(-> Result<CompletionStream, Error>);
        assert_eq!(of(&alias, Some(&said("stream"))).ok(), Some(Returns::Inside(Sum::Result, Wrap::Pinned)));
        assert_eq!(of(&alias, Some(&said("value"))).ok(), Some(Returns::Value));
        assert!(of(&alias, Some(&said("strem"))).is_err());
    }
}
