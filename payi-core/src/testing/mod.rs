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

/// Waits until estimates go by the vocabulary that is part of the program, and says whether they do: `false`
/// without the feature `tokenizer`, where they go by the length of the text.
///
/// `payi::instrument()` reads the vocabulary on a thread of its own, so that an estimate made early goes by length; a test
/// that compares estimates calls this first, and knows which to expect.
///
/// ```
/// // "hello" is one token by the vocabulary, and two by its length.
/// let tokens = if payi_core::testing::estimates_by_vocabulary() { 1 } else { 2 };
/// # assert!(tokens > 0);
/// ```
pub fn estimates_by_vocabulary() -> bool {
    #[cfg(feature = "tokenizer")]
    crate::usage::load_tokenizer();
    cfg!(feature = "tokenizer")
}
