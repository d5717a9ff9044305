//! The `#[track]` and `track_context!` macros of [payi](https://docs.rs/payi); use them through that crate,
//! whose page documents them.
//!
//! Each invocation goes one way: shape (`args`, `block`) → meaning (`model`, `literals`, `track`) → code
//! (`rewrite`, `expand`). Every mistake on the way is kept, and all are shown together.

mod args;
mod block;
mod diag;
mod expand;
#[cfg(test)]
mod goldens;
mod impl_block;
mod keys;
mod literals;
mod model;
mod returns;
mod rewrite;
mod track;

use proc_macro::TokenStream;

#[allow(missing_docs, reason = "its documentation is in the package `payi`, where its examples can run")]
#[proc_macro_attribute]
pub fn track(args: TokenStream, item: TokenStream) -> TokenStream {
    track::expand(args.into(), &item.into()).into()
}

/// What `payi::track_context!` hands on.
#[proc_macro]
pub fn track_context(tokens: TokenStream) -> TokenStream {
    expand::track_context(tokens.into()).into()
}
