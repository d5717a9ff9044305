//! Stands for `payi_core::limits`: its own files, but for the locks, threads and clocks they are given.

#[path = "../../../../payi-core/src/limits/attempts.rs"]
mod attempts;
#[path = "bound.rs"]
mod bound;
#[path = "../../../../payi-core/src/limits/charge.rs"]
mod charge;
#[path = "../../../../payi-core/src/limits/clerk.rs"]
mod clerk;
#[path = "../../../../payi-core/src/limits/desk.rs"]
mod desk;
#[path = "../../../../payi-core/src/limits/entry.rs"]
mod entry;
#[path = "../../../../payi-core/src/limits/gate.rs"]
mod gate;
#[path = "../../../../payi-core/src/limits/hold.rs"]
mod hold;
#[path = "../../../../payi-core/src/limits/limit.rs"]
mod limit;
#[path = "../../../../payi-core/src/limits/memory.rs"]
mod memory;
#[path = "../../../../payi-core/src/limits/rate.rs"]
mod rate;
#[path = "../../../../payi-core/src/limits/refusal.rs"]
mod refusal;
#[path = "../../../../payi-core/src/limits/rules.rs"]
mod rules;
#[path = "../../../../payi-core/src/limits/slice.rs"]
mod slice;
#[path = "../../../../payi-core/src/limits/state.rs"]
mod state;
#[path = "../../../../payi-core/src/limits/store.rs"]
mod store;
#[path = "sync.rs"]
pub mod sync;
#[path = "../../../../payi-core/src/limits/wait.rs"]
mod wait;
#[path = "../../../../payi-core/src/limits/window.rs"]
mod window;

pub(crate) use bound::{Bound, Estimate, Unbounded};
pub(crate) use charge::{Spent, charge};
pub(crate) use clerk::LIFE;
pub(crate) use gate::{Admission, Asked, Gate, Refused, micros};
pub(crate) use hold::Hold;
pub use limit::{Kind, Limit, Measure, OnStoreFailure, Policy, Scope, Unpriced};
pub use memory::MemoryStore;
pub(crate) use rate::decayed;
pub use refusal::Refusal;
pub(crate) use refusal::refused;
pub(crate) use rules::{Rule, Rules};
pub use state::{Crossing, LimitState, OnLimit, Standing, Tally};
pub use store::{
    Answer, Ask, Change, Counter, Definition, Definitions, Give, History, Later, Store, Subject, Totals,
    granted,
};
pub(crate) use wait::block_on;
pub use window::Window;
