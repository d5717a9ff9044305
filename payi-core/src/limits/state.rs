//! How a limit stands, for receipts, reports and alerts.

use serde::{Deserialize, Serialize};

use crate::limits::{Counter, Limit};

/// How a limit stands after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitState {
    /// Below its threshold.
    Ok,
    /// The threshold is reached, the maximum is not passed.
    Exceeded,
    /// This call took it over its maximum.
    Overrun,
    /// It refuses further calls.
    Blocked,
    /// Another limit of the call refuses it.
    BlockedExternal,
    /// The call failed and cost nothing.
    Failed,
    /// A state that this version of payi does not know.
    Unknown,
}

impl LimitState {
    /// Every state but the unknown one.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::Exceeded, Self::Overrun, Self::Blocked, Self::BlockedExternal, Self::Failed];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Exceeded => "exceeded",
            Self::Overrun => "overrun",
            Self::Blocked => "blocked",
            Self::BlockedExternal => "blocked_external",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// The state of that name on the wire.
    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.name() == name).unwrap_or(Self::Unknown)
    }

    /// That of a counter of `limit` whose maximum is `max`, after it came to `settled`.
    pub fn of(limit: &Limit, max: i128, settled: i128) -> Self {
        if settled > max {
            return Self::Overrun;
        }
        let reached = |threshold: u16| settled.saturating_mul(1000) >= max.saturating_mul(threshold.into());
        if limit.threshold.is_some_and(reached) { Self::Exceeded } else { Self::Ok }
    }
}

/// One counter, as its store has it. Amounts are pico-dollars for limits on cost, plain counts for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// How much there is in all.
    pub max: i128,
    /// Spent in the current window.
    pub settled: i128,
    /// Given to processes, which reserve from it for their calls.
    pub held: i128,
    /// When something, or everything, comes back, in microseconds since 1970; `None` if it does not by itself.
    pub frees_us: Option<i64>,
}

impl Standing {
    /// What nobody has, or has been promised.
    pub const fn room(&self) -> i128 {
        self.max.saturating_sub(self.settled).saturating_sub(self.held)
    }
}

/// How many calls left a limit in which state, and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tally {
    /// Calls that left it below its threshold.
    pub ok: u64,
    /// Calls that left it above its threshold.
    pub exceeded: u64,
    /// Calls that left it over its maximum.
    pub overrun: u64,
    /// Calls it refused.
    pub blocked: u64,
    /// Calls that another limit refused.
    pub blocked_external: u64,
    /// Calls that failed.
    pub failed: u64,
}

impl Tally {
    /// Counts one call.
    pub(crate) fn count(&mut self, state: LimitState) {
        self.add(state, 1);
    }

    /// Counts so many.
    pub(crate) fn add(&mut self, state: LimitState, calls: u64) {
        *match state {
            LimitState::Ok | LimitState::Unknown => &mut self.ok,
            LimitState::Exceeded => &mut self.exceeded,
            LimitState::Overrun => &mut self.overrun,
            LimitState::Blocked => &mut self.blocked,
            LimitState::BlockedExternal => &mut self.blocked_external,
            LimitState::Failed => &mut self.failed,
        } += calls;
    }

    /// How many left it in that state.
    pub const fn of(&self, state: LimitState) -> u64 {
        match state {
            LimitState::Ok => self.ok,
            LimitState::Exceeded => self.exceeded,
            LimitState::Overrun => self.overrun,
            LimitState::Blocked => self.blocked,
            LimitState::BlockedExternal => self.blocked_external,
            LimitState::Failed => self.failed,
            LimitState::Unknown => 0,
        }
    }

    /// All of them.
    pub const fn total(&self) -> u64 {
        self.ok + self.exceeded + self.overrun + self.blocked + self.blocked_external + self.failed
    }
}

/// A counter that has come to another state: what alerts are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crossing {
    /// Whose, and of which limit.
    pub counter: Counter,
    /// Where it is now: exceeded, or overrun.
    pub state: LimitState,
    /// What it has come to, in the limit's unit.
    pub settled: i128,
    /// Its maximum.
    pub max: i128,
}

/// Is told when a counter has come to another state.
pub type OnLimit = dyn Fn(&Crossing) + Send + Sync;

impl Crossing {
    /// The same for people: an amount of the limit's unit, dollars or a count, by whoever knows the limit.
    pub(crate) fn tell(&self) {
        tracing::warn!(
            target: "payi",
            limit = &*self.counter.limit,
            state = self.state.name(),
            settled = %self.settled,
            max = %self.max,
            "a limit has come to another state"
        );
    }
}
