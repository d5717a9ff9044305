//! Know, and limit, what your GenAI calls cost: per user, per use case, to the last pico-dollar.
//!
//! An independent implementation, not affiliated with Pay-i.

pub mod guides;

#[doc(inline)]
pub use payi_core::error::{Error, Result};

// A function of the value namespace, a module of the type namespace.
#[doc(inline)]
pub use payi_core::context::{
    self, Clear, Conflict, Context, ContextFlag, ContextList, ContextValue, ContextVersion, InContext,
    InContextFn, Key, Site, SiteKey, builder as context, conflicting_versions, current, inventory,
};

#[doc(inline)]
pub use payi_core::context::thread;

#[cfg(feature = "pseudonym")]
#[doc(inline)]
pub use payi_core::context::UserId;

#[cfg(feature = "tower")]
pub mod tower {
    //! A scope for each incoming request, whatever tower runs: axum, hyper, tonic, Lambda.
    #[doc(inline)]
    pub use payi_core::context::{ContextLayer, ContextService};
}

#[cfg(feature = "tokio")]
#[doc(inline)]
pub use payi_core::context::{JoinSetExt, spawn, spawn_blocking, spawn_local};

#[cfg(feature = "_calls")]
#[doc(inline)]
pub use payi_core::{
    events, money, pricing,
    runtime::{Builder, DeliveryMetrics, Guard, Metrics, instrument, metrics, proxy},
    sink::{Delivered, LimitState},
    usage,
};

#[cfg(feature = "_calls")]
#[doc(inline)]
pub use payi_core::clients::{Receipt, ReceiptsExt, Settled, WithReceipts, receipt};

#[cfg(feature = "async-openai")]
#[doc(inline)]
pub use payi_core::clients::async_openai;

#[cfg(feature = "reqwest")]
#[doc(inline)]
pub use payi_core::clients::reqwest;

#[cfg(feature = "ledger")]
#[doc(inline)]
pub use payi_core::ledger;

#[cfg(feature = "testing")]
#[doc(inline)]
pub use payi_core::testing;

#[doc(inline)]
pub use payi_macros::track;

mod scope_macro;

#[doc(hidden)]
pub mod __private {
    //! What the macros expand to. Not public API: it may change in any release.
    pub use payi_core::private::*;
    pub use payi_macros::{track, track_context};
}
