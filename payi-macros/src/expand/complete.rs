//! Completion of keys in editors.
//!
//! While a key is being typed it is unknown, so the invocation is a mistake, and nothing of what would be
//! generated is there for the editor to complete. So a mistaken invocation also names each key as a
//! function of payi's: rust-analyzer, which alone sees it, completes those, with their documentation.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::Path;

/// Names each of `keys`, for rust-analyzer only.
pub(crate) fn keys<'k>(payi: &Path, keys: impl Iterator<Item = &'k Ident>) -> TokenStream {
    quote! {
        #[allow(unexpected_cfgs)]
        const _: () = {
            #(#[cfg(rust_analyzer)] use #payi::__private::expression::#keys as _;)*
        };
    }
}
