//! Scopes without macros: the same keys, from the same table.

use std::sync::Arc;

use serde::Serialize;

use crate::context::{
    Context, ContextFlag, ContextList, ContextValue, ContextVersion, Entry, Frame,
    entry::expression,
    field::fields,
    scope,
    scoped::{Entered, Scoped},
};

/// Collects keys for a scope, and opens it.
///
/// ```
/// use payi_core::context::{self, Context};
///
/// # async fn summarize() {}
/// # async fn handle(user: &str) {
/// context::builder().user_id(user).use_case_name("summarize").scope(summarize()).await;
/// # }
/// let plan = context::builder()
///     .request_properties([("plan", "pro")])
///     .run(|| Context::current().request_properties());
/// assert_eq!(plan, [("plan".into(), Some("pro".into()))]);
/// ```
///
/// Opened inside another scope it inherits that scope's keys, as the macros' scopes do.
#[derive(Clone, Debug, Default)]
#[must_use = "collects keys; `scope`, `run`, `enter` or `build` opens the scope"]
pub struct Builder {
    entries: Vec<Entry>,
}

/// Collects keys for a scope.
pub const fn builder() -> Builder {
    Builder { entries: Vec::new() }
}

macro_rules! setter {
    ($name:ident, $doc:literal, $bound:ident) => {
        #[doc = $doc]
        pub fn $name<V: $bound>(self, value: V) -> Self {
            self.with(expression::$name(&value))
        }
    };
    ($name:ident, text, $doc:literal) => {
        setter!($name, $doc, ContextValue);
    };
    ($name:ident, version, $doc:literal) => {
        setter!($name, $doc, ContextVersion);
    };
    ($name:ident, flag, $doc:literal) => {
        setter!($name, $doc, ContextFlag);
    };
    ($name:ident, list, $doc:literal) => {
        setter!($name, $doc, ContextList);
    };
    ($name:ident, map, $doc:literal) => {
        setter!($name, $doc, Serialize);
    };
}

macro_rules! setters {
    ($(($name:ident, $key:ident, $kind:ident, $doc:literal, $header:expr, $wire:expr, $column:expr),)*) => {
        impl Builder {
            $(setter!($name, $kind, $doc);)*
        }
    };
}
fields!(setters);

impl Builder {
    fn with(mut self, entry: Entry) -> Self {
        self.entries.push(entry);
        self
    }

    /// The keys so far, for a root.
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    fn frame(self) -> Arc<Frame> {
        Frame::collected(scope::current(), self.entries)
    }

    /// These keys inside the current context, as a context to hand to other code.
    pub fn build(self) -> Context {
        Context::of(self.frame())
    }

    /// Runs `future` in a scope with these keys, inside the scope that is current now.
    pub fn scope<F: Future>(self, future: F) -> Scoped<F> {
        Scoped::new(Some(self.frame()), future)
    }

    /// Runs `work` in a scope with these keys. A future made in there and awaited outside is not covered.
    pub fn run<R>(self, work: impl FnOnce() -> R) -> R {
        let _inside = self.enter();
        work()
    }

    /// Enters a scope with these keys until the guard is dropped: for sync code only.
    ///
    /// ```
    /// # use payi_core::context::{self, Context};
    /// {
    ///     let _scope = context::builder().user_id("u-1").enter();
    ///     assert_eq!(Context::current().user_id().as_deref(), Some("u-1"));
    /// }
    /// assert_eq!(Context::current().user_id(), None);
    /// ```
    pub fn enter(self) -> Entered {
        Entered::new(Some(self.frame()))
    }
}
