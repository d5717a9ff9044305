//! Where events go: the queue to the writer, the writer to the ledger, and from the ledger on.

#[cfg(any(feature = "reqwest", feature = "ledger"))]
pub(crate) mod deliver;
pub(crate) mod delivered;
#[cfg(feature = "ledger")]
mod drain;
mod fan;
#[cfg(all(test, feature = "ledger"))]
mod faults;
#[cfg(any(feature = "_http", feature = "ledger"))]
mod fields;
#[cfg(feature = "ledger")]
pub(crate) mod files;
#[cfg(feature = "ledger")]
mod keeper;
mod losses;
mod on_spans;
#[cfg(feature = "otel")]
pub(crate) mod otel;
#[cfg(feature = "reqwest")]
pub(crate) mod pay_i;
#[cfg(feature = "ledger")]
mod queue;
#[cfg(all(test, feature = "ledger"))]
pub(crate) mod tests;
#[cfg(feature = "rustls")]
pub(crate) mod tls;
#[cfg(any(feature = "_http", feature = "ledger"))]
mod units;
#[cfg(all(test, feature = "ledger"))]
mod unread_tests;
#[cfg(any(feature = "reqwest", feature = "ledger"))]
mod wire;
#[cfg(feature = "ledger")]
mod writer;

pub use delivered::{Delivered, LimitState};
pub(crate) use fan::Fan;
#[cfg(feature = "_http")]
pub(crate) use fields::percent_encoded;
pub use losses::LossReason;
pub(crate) use on_spans::OnSpans;
#[cfg(feature = "ledger")]
pub(crate) use writer::Shared;
#[cfg(feature = "ledger")]
pub use writer::{DEADLINE, Writer, WriterMetrics, WriterOptions};
