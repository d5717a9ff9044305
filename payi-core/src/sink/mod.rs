//! Where events go: the queue to the writer, the writer to the ledger, and from the ledger on.

#[cfg(feature = "ledger")]
mod drain;
mod fan;
mod losses;
#[cfg(feature = "ledger")]
mod queue;
#[cfg(test)]
mod sample;
#[cfg(feature = "rustls")]
pub(crate) mod tls;
#[allow(dead_code, reason = "until delivery uses it")]
mod units;
#[allow(dead_code, reason = "until delivery uses it")]
mod wire;
#[cfg(feature = "ledger")]
mod writer;

pub(crate) use fan::Fan;
pub use losses::LossReason;
#[cfg(feature = "ledger")]
pub use writer::{DEADLINE, Writer, WriterMetrics, WriterOptions};
