//! What happens to an event after the caller has gone on.

mod fan;
#[cfg(feature = "rustls")]
pub(crate) mod tls;

pub(crate) use fan::Fan;
