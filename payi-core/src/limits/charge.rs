//! What a fact counts against a limit: one function, used before the call, when it ends, and by the ledger.

use crate::{
    events::{Event, Outcome},
    limits::{Limit, Measure, Unpriced},
    pricing::{Cost, CostSource},
};

/// What an attempt came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) outcome: Outcome,
    pub(crate) cost: Cost,
    /// In and out.
    pub(crate) tokens: u64,
    /// Nothing is billed for such calls, and no limit is asked before them.
    pub(crate) free: bool,
}

impl Spent {
    pub(crate) fn of(event: &Event) -> Self {
        let tokens = event.usage.input_tokens() + event.usage.output_tokens();
        Self { outcome: event.outcome, cost: event.cost, tokens, free: event.free }
    }
}

/// How much of `limit` it used up.
pub(crate) fn charge(limit: &Limit, spent: &Spent) -> i128 {
    if spent.outcome == Outcome::Blocked || !limit.settles() {
        return 0;
    }
    match limit.measure {
        Measure::Calls => i128::from(!spent.free),
        Measure::Tokens => spent.tokens.into(),
        Measure::Concurrent => 0,
        Measure::Cost if spent.cost.source == CostSource::Unpriced => match limit.unpriced {
            Unpriced::Assume(pico) => i128::from(pico).saturating_mul(spent.tokens.into()),
            Unpriced::Refuse | Unpriced::Ignore => 0,
        },
        Measure::Cost => spent.cost.amount.pico().max(0),
    }
}
