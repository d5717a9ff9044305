//! Who a call is for: scopes, their keys, and how an inner scope inherits from an outer one.
//!
//! A scope belongs to a future, or to a sync block, never to a thread. The thread-local in
//! [`scope`] is only where the scope of the code that is running *now* is kept; a future's scope
//! is swapped in when it is polled and out when it returns.

pub mod entry;
mod field;
mod frame;
mod loss;
mod merge;
mod properties;
mod resolved;
pub mod scope;
mod text;
mod value;

use std::{any::Any, fmt, sync::Arc};

pub use entry::Entry;
pub use field::{Key, Kind, UnknownKey};
pub use frame::Frame;
pub(crate) use frame::{global, set_global};
pub use loss::Loss;
pub use properties::{Property, PropertyValue};
pub use resolved::{Properties, Resolved, UseCase};
pub use text::Text;
pub use value::{Clear, ContextFlag, ContextList, ContextValue, ContextVersion, Value, Values};

/// A snapshot of who the running code works for; cheap to clone, immutable.
#[derive(Clone, Default)]
pub struct Context {
    frame: Option<Arc<Frame>>,
    /// The process-wide root when the snapshot was taken.
    global: Option<Arc<Frame>>,
}

impl Context {
    /// The context of the code that is running now.
    pub fn current() -> Self {
        Self { frame: scope::current(), global: global() }
    }

    /// Every key's value, after inheritance.
    pub fn resolve(&self) -> Resolved {
        merge::resolve(self.frame.as_deref(), self.global.as_deref())
    }

    /// What the root of this context carries, if it is a `T`: else what the process-wide root carries.
    pub fn root<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let carried = self.frame.as_deref().and_then(Frame::carried);
        carried.or_else(|| self.global.as_deref().and_then(Frame::carried))?.downcast().ok()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.resolve(), f)
    }
}
