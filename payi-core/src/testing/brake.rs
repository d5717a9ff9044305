//! The gate of limits without calls around it, for benchmarks of the gate.

use std::sync::Arc;

use crate::{
    context::Resolved,
    error::Result,
    events::Outcome,
    limits::{Admission, Asked, Estimate, Gate, Spent, Store, block_on, micros},
    money::Money,
    pricing::{Cost, CostSource},
    usage::{Bucket, Usage},
};

/// The gate of one process over a store.
#[derive(Debug)]
pub struct Brake {
    gate: Gate,
    usage: Usage,
}

impl Brake {
    /// Starts it.
    ///
    /// # Errors
    /// What the store says, if it cannot be asked which limits there are.
    pub fn over(store: Arc<dyn Store>) -> Result<Self> {
        let usage = Usage::new().with(Bucket::Input, 100).with(Bucket::Output, 100);
        Ok(Self { gate: Gate::start(store, "bench".into())?, usage })
    }

    /// Reserves `reserved` for a call of `who` and settles it at `actual`, waiting where a call would; whether it was
    /// let through.
    pub fn reserve_and_settle(&self, who: &Resolved, reserved: Money, actual: Money) -> bool {
        let cost = |amount| Cost { amount, source: CostSource::Estimated };
        let estimate = Estimate { usage: self.usage, cost: cost(reserved), unbounded: None };
        let at_us = micros(std::time::SystemTime::now());
        let hold = match self.gate.admit(&Asked { who, at_us, estimate: &move || estimate }) {
            Admission::Held(hold, _) => hold,
            Admission::Wait(waiting, _) => match block_on(waiting) {
                Ok(hold) => hold,
                Err(_) => return false,
            },
            Admission::Unlimited | Admission::Refused(_) => return false,
        };
        hold.settle(&Spent { outcome: Outcome::Ok, cost: cost(actual), tokens: 200, free: false });
        true
    }
}
