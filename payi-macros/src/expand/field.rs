//! One key and its value.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{Expr, Path, spanned::Spanned};

use crate::{
    keys::Kind,
    model::{Field, Pair, Value},
    rewrite::hidden,
};

/// The entries of a scope, in the order they were written.
pub(crate) fn entries(payi: &Path, fields: &[Field]) -> TokenStream {
    let entries = fields.iter().map(|field| entry(payi, field));
    quote!([#(#entries),*])
}

/// The entries of a mistaken invocation: evaluated for the mistakes of their types only.
pub(crate) fn typed(fields: &[Field], entries: &TokenStream) -> TokenStream {
    if fields.is_empty() { TokenStream::new() } else { quote!(let _ = #entries;) }
}

fn entry(payi: &Path, field: &Field) -> TokenStream {
    // The function has the key's span, for navigation; its argument that of the value, so that a type
    // error lands on what the user wrote.
    let key = &field.ident;
    match &field.value {
        Value::Literal(literal) => {
            let borrow = matches!(literal, Expr::Array(_)).then(|| quote!(&));
            quote!(#payi::__private::literal::#key(#borrow #literal))
        }
        Value::Expression(value) if is_none(value) => {
            let none = none(field.key.kind);
            quote!(#payi::__private::expression::#key(&#none))
        }
        Value::Expression(value) => {
            let value = borrowed(value);
            quote!(#payi::__private::expression::#key(#value))
        }
        Value::Items(items) => {
            let items = items.iter().map(|item| {
                let value = borrowed(item);
                quote_spanned!(hidden(item.span())=> #payi::__private::item(#value))
            });
            quote!(#payi::__private::in_place::#key([#(#items),*]))
        }
        Value::Pairs(pairs) => {
            let pairs = pairs.iter().map(|it| pair(payi, it));
            quote!(#payi::__private::in_place::#key([#(#pairs),*]))
        }
    }
}

fn pair(payi: &Path, pair: &Pair) -> TokenStream {
    match pair {
        Pair::Halves(key, value) => {
            let span = hidden(key.span());
            let value = if is_none(value) { none_of_text() } else { borrowed(value) };
            let key = borrowed(key);
            quote_spanned!(span=> #payi::__private::pair(#key, #value))
        }
        Pair::Whole(pair) => {
            let borrowed = borrowed(pair);
            quote_spanned!(hidden(pair.span())=> match #borrowed { (key, value) => #payi::__private::pair(key, value) })
        }
    }
}

/// `&value`, with parentheses only where they are needed.
///
/// All of it has the user's span: where spans of his code and of ours meet in one expression the compiler
/// points at the whole invocation.
fn borrowed(value: &Expr) -> TokenStream {
    let span = value.span();
    match value {
        Expr::Path(_)
        | Expr::Lit(_)
        | Expr::Field(_)
        | Expr::Call(_)
        | Expr::MethodCall(_)
        | Expr::Macro(_)
        | Expr::Index(_)
        | Expr::Await(_)
        | Expr::Try(_)
        | Expr::Reference(_)
        | Expr::Array(_)
        | Expr::Tuple(_)
        | Expr::Verbatim(_) => quote_spanned!(span=> &#value),
        other => quote_spanned!(span=> &(#other)),
    }
}

fn is_none(value: &Expr) -> bool {
    matches!(value, Expr::Path(path) if path.path.is_ident("None"))
}

fn none_of_text() -> TokenStream {
    quote!(&::core::option::Option::None::<&'static str>)
}

/// A bare `None` says nothing of the type it is of.
fn none(kind: Kind) -> TokenStream {
    let of = match kind {
        Kind::Text => quote!(&'static str),
        Kind::Version => quote!(u32),
        Kind::Flag => quote!(bool),
        Kind::List => quote!(&'static [&'static str]),
        Kind::Map => quote!(&'static [(&'static str, &'static str)]),
    };
    quote!(::core::option::Option::None::<#of>).into_token_stream()
}
