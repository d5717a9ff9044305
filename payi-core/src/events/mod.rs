//! What happened: one immutable [`Event`] per attempt, the only thing sinks see.

mod background;
mod clock;
mod event;
mod mapping;
mod pipeline;
#[cfg(all(test, any(feature = "reqwest", feature = "ledger")))]
#[allow(dead_code, reason = "without `reqwest` not all are needed")]
pub(crate) mod sample;
mod secret;
mod under_way;
mod unread;

pub(crate) use background::{Background, Bill, Later};
pub(crate) use clock::deadline;
pub use clock::{Clock, SystemClock};
pub(crate) use event::TOO_LATE;
pub use event::{CallId, Event, Exchange, LimitMark, Opening, Outcome, Verdict, is_correction};
pub use mapping::{Mappings, ModelMapping};
pub use pipeline::{Pipeline, Settings, Sink, StreamUsage};
pub(crate) use secret::{PAY_I, PayIAccess, Secret};
pub(crate) use under_way::Opens;
pub use under_way::UnderWay;
#[cfg(any(feature = "_http", all(test, feature = "ledger")))]
pub(crate) use unread::Rest;
pub use unread::Unread;
