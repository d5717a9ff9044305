//! Who a call is for: scopes, their keys, and how an inner scope inherits from an outer one.
//!
//! A scope belongs to a future, or to a sync block, never to a thread. The thread-local in
//! [`scope`] is only where the scope of the code that is running *now* is kept; a future's scope
//! is swapped in when it is polled and out when it returns.

mod frame;
mod resolved;
pub mod scope;

use std::{any::Any, fmt, sync::Arc};

pub use frame::Frame;
pub(crate) use frame::{global, set_global};
pub use resolved::{Properties, Resolved, UseCase};

/// A snapshot of who the running code works for; cheap to clone, immutable.
#[derive(Clone, Default)]
pub struct Context(Option<Arc<Frame>>);

impl Context {
    /// The context of the code that is running now.
    pub fn current() -> Self {
        Self(scope::current())
    }

    /// Every key's value, after inheritance.
    pub fn resolve(&self) -> Resolved {
        Resolved::of(self.0.as_deref())
    }

    /// What the root of this context carries, if it is a `T`: else what the process-wide root carries.
    pub fn root<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        frame::carried(self.0.as_deref()).and_then(|carried| carried.downcast().ok())
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.resolve(), f)
    }
}
