//! Collects every mistake of one invocation, so that one build shows them all.

use proc_macro2::{Span, TokenStream};

/// The mistakes found so far. Dropping it unread is a bug in the macro.
#[must_use]
#[derive(Debug)]
pub(crate) struct Errors {
    found: Option<syn::Error>,
    read: bool,
}

impl Errors {
    pub(crate) const fn new() -> Self {
        Self { found: None, read: false }
    }

    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.found {
            Some(found) => found.combine(error),
            none => *none = Some(error),
        }
    }

    /// A mistake at one place.
    pub(crate) fn at(&mut self, span: Span, message: impl std::fmt::Display) {
        self.push(syn::Error::new(span, message));
    }

    /// The value, or `None` with the mistake kept.
    pub(crate) fn ok<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// The mistakes as `compile_error!`s; `None` if there are none.
    pub(crate) fn finish(mut self) -> Option<TokenStream> {
        self.read = true;
        self.found.take().map(syn::Error::into_compile_error)
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        debug_assert!(self.read || std::thread::panicking(), "mistakes were collected and never shown");
    }
}
