//! What is reserved for one call, until it ends one way or another.

use std::sync::Arc;

use crate::{
    events::{LimitMark, Verdict},
    limits::{Limit, LimitState, Measure, Rule, Spent, charge, gate::Shared, slice::Slice},
};

/// A reservation with every limit that the call counts against. Dropping it gives everything back.
#[derive(Debug)]
pub(crate) struct Hold {
    gate: Arc<Shared>,
    parts: Vec<Part>,
}

/// The part of one limit.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) rule: Arc<Rule>,
    pub(crate) slice: Arc<Slice>,
    pub(crate) slot: i64,
    /// `None` where nothing is reserved: the limit only counts, or could not be asked and lets calls pass.
    pub(crate) amount: Option<i128>,
}

impl Part {
    fn cancel(&self) {
        if let Some(amount) = self.amount {
            self.slice.cancel(&self.rule, self.slot, amount);
        }
    }
}

impl Hold {
    pub(crate) fn new(gate: Arc<Shared>, parts: Vec<Part>) -> Self {
        Self { gate, parts }
    }

    /// Whether money, or tokens, are reserved: what the call's end does not say is then charged by estimate.
    pub(crate) fn reserves(&self) -> bool {
        let bounded = |limit: &Limit| limit.settles() && limit.measure != Measure::Calls;
        self.parts.iter().any(|part| part.amount.is_some() && bounded(&part.rule.limit))
    }

    /// For the call's event: which limits it holds.
    pub(crate) fn marks(&self) -> Vec<LimitMark> {
        let held = self.parts.iter().filter(|part| part.amount.is_some());
        held.map(|part| LimitMark { limit: Arc::clone(&part.rule.id), verdict: Verdict::Held }).collect()
    }

    /// The call has ended: what it did not use is free again. How each limit stands now, as far as this
    /// process knows.
    pub(crate) fn settle(mut self, spent: &Spent) -> Vec<(Arc<str>, LimitState)> {
        let failed = spent.outcome == crate::events::Outcome::Failed;
        let parts = std::mem::take(&mut self.parts);
        let states = parts.into_iter().map(|part| {
            let actual = charge(&part.rule.limit, spent);
            let state = match part.amount {
                Some(amount) => part.slice.settle(&part.rule, (part.slot, amount, actual)),
                None => part.slice.spend(&part.rule, part.slot, actual),
            };
            self.gate.ended(&part.slice);
            let nothing = failed && actual == 0;
            (Arc::clone(&part.rule.id), if nothing { LimitState::Failed } else { state })
        });
        states.collect()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        for part in std::mem::take(&mut self.parts) {
            part.cancel();
            self.gate.ended(&part.slice);
        }
    }
}
