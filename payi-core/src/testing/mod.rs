//! For the tests of users: a recorder bound to a scope, and a provider on loopback.

mod pay_i;
mod recorder;
#[cfg(feature = "ledger")]
mod sample;

pub use pay_i::{PayI, PayIAnswer, PayIRequest};
pub use recorder::{Recorder, TestClock};
#[cfg(feature = "ledger")]
pub use sample::sample_ledger;
