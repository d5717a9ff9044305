//! Who a call is for: scopes, their keys, and how an inner scope inherits from an outer one.
//!
//! A scope belongs to a future, or to a sync block, never to a thread. The thread-local in
//! [`scope`] is only where the scope of the code that is running *now* is kept; a future's scope
//! is swapped in when it is polled and out when it returns.

mod builder;
mod carry;
pub mod entry;
pub(crate) mod field;
mod forward;
mod frame;
pub mod guard;
mod headers;
mod inventory;
mod key_set;
mod loss;
mod merge;
#[cfg(feature = "pseudonym")]
mod privacy;
mod properties;
mod resolved;
pub mod scope;
mod scoped;
mod slot;
mod snapshot;
mod spare;
#[cfg(test)]
mod tests;
mod text;
#[cfg(feature = "tower")]
mod tower;
mod value;

pub use builder::{Builder, builder};
pub use carry::thread;
#[cfg(feature = "tokio")]
pub use carry::{JoinSetExt, spawn, spawn_blocking, spawn_local};
pub use entry::Entry;
pub use field::{Key, Kind, UnknownKey};
pub use frame::Frame;
#[cfg(feature = "_calls")]
pub(crate) use frame::{global, set_global};
pub use headers::{BAGGAGE, Handover};
pub use inventory::{Conflict, Site, SiteKey, conflicting_versions, inventory};
pub use key_set::KeySet;
pub use loss::Loss;
#[cfg(feature = "pseudonym")]
pub use privacy::UserId;
pub use properties::{Property, PropertyValue};
pub use resolved::{Properties, Resolved, UseCase};
pub use scoped::{Entered, InContext, InContextFn, OfFuture, OfStream, Scoped};
pub use snapshot::{Context, current};
pub use text::Text;
#[cfg(feature = "tower")]
pub use tower::{ContextLayer, ContextService};
pub use value::{Clear, ContextFlag, ContextList, ContextValue, ContextVersion, Value, Values};
