//! Limits: what may be spent, by whom, and who decides it before a call is sent.
//!
//! ```text
//! Limit (a rule) + who a call is for -> Counter (whose budget) -> Store (what is left of it)
//! Gate: reserves the most a call can cost, from a slice of the store that this process holds
//! ```
//!
//! The store holds `settled + held <= max` for every counter, where `held` is what processes were given
//! and have not yet spent. A process reserves from its own slice in memory, so most calls wait for
//! nothing; the slice is asked back when another process runs short. What was spent is charged by the
//! code that appends the fact to the ledger, in the same transaction, so that the counter is a sum over
//! facts and cannot drift from them.

#![cfg_attr(
    not(all(feature = "_http", feature = "ledger")),
    allow(unused_imports, reason = "what only clients, or only the ledger, use")
)]

mod attempts;
mod bound;
mod charge;
mod clerk;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod desk;
mod entry;
mod gate;
#[cfg(test)]
#[path = "gate_tests.rs"]
pub(crate) mod gate_tests;
mod handle;
mod hold;
mod limit;
mod memory;
#[cfg(all(test, feature = "ledger"))]
#[path = "race_tests.rs"]
mod race;
mod rate;
mod refusal;
mod request;
mod rules;
mod slice;
mod state;
mod store;
mod sync;
#[cfg(test)]
mod tests;
mod wait;
mod window;

pub use bound::Unbounded;
pub(crate) use bound::{Bound, Estimate, Model};
pub(crate) use charge::{Spent, charge};
pub(crate) use gate::{Admission, Asked, Gate, Refused, micros, now_us};
pub use handle::Limits;
pub(crate) use hold::Hold;
pub use limit::{Kind, Limit, Measure, OnStoreFailure, Policy, Scope, Unpriced};
pub use memory::{MemorySink, MemoryStore};
pub(crate) use memory::{SCARCE, comparable, farthest, state_of};
pub(crate) use rate::{decayed, falls_by, falls_from};
pub use refusal::Refusal;
pub(crate) use refusal::refused;
pub(crate) use request::Prompt;
pub(crate) use rules::{Rule, Rules};
pub use state::{Crossing, LimitState, OnLimit, Standing, Tally};
pub use store::{
    Answer, Ask, Change, Counter, Definition, Definitions, Give, History, Later, Store, Subject, Totals,
    granted,
};
pub(crate) use wait::block_on;
pub use window::Window;
