//! What happens to an event after the caller has gone on.

mod fan;
#[cfg(test)]
mod sample;
#[cfg(feature = "rustls")]
pub(crate) mod tls;
#[allow(dead_code, reason = "until delivery uses it")]
mod units;
#[allow(dead_code, reason = "until delivery uses it")]
mod wire;

pub(crate) use fan::Fan;
