//! For the tests of users: a recorder bound to a scope, and a provider on loopback.

mod answer;
mod brake;
mod http1;
#[cfg(feature = "ledger")]
mod load;
mod pay_i;
mod provider;
mod recorder;
#[cfg(feature = "ledger")]
mod sample;
#[cfg(feature = "ledger")]
mod workload;

pub use answer::Answer;
pub use brake::Brake;
#[cfg(feature = "ledger")]
pub use load::{Load, Loaded, load_ledger};
pub use pay_i::{PayI, PayIAnswer, PayIRequest};
pub use provider::{Asked, Provider};
pub use recorder::{Recorder, TestClock};
#[cfg(feature = "ledger")]
pub use sample::{sample_event, sample_ledger};
