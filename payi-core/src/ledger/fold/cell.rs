//! A cell of a rollup: the sums of all facts that agree in its key.

use crate::ledger::sketch::Sketch;

/// What a cell is of. What a rollup does not split by is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) user: i64,
    pub(crate) account: i64,
    /// See [`Kinds::whats`](crate::ledger::kinds::Kinds).
    pub(crate) what: i64,
    /// See [`Kinds::hows`](crate::ledger::kinds::Kinds).
    pub(crate) how: i64,
    /// Which quarter of an hour of its day.
    pub(crate) quarter: i64,
}

/// Sums. Calls may be negative in a part of the whole: a call that went on is taken back where its earlier attempt
/// was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) calls: i64,
    pub(crate) attempts: i64,
    /// Pico-dollars.
    pub(crate) cost: i128,
    /// Input, cache read, cache write, output, reasoning.
    pub(crate) tokens: [i64; 5],
    /// When the first and the last attempt began, in milliseconds since 1970; turned round if there is none.
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    /// What attempts cost, where that is known.
    pub(crate) costs: Sketch,
    /// How many microseconds answered attempts took.
    pub(crate) latencies: Sketch,
}

impl Default for Cell {
    fn default() -> Self {
        Self {
            calls: 0,
            attempts: 0,
            cost: 0,
            tokens: [0; 5],
            first_ms: i64::MAX,
            last_ms: i64::MIN,
            costs: Sketch::default(),
            latencies: Sketch::default(),
        }
    }
}

impl Cell {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.merge_sums(other);
        self.costs.merge(&other.costs);
        self.latencies.merge(&other.latencies);
    }

    /// Without the sketches.
    pub(crate) fn merge_sums(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.cost = self.cost.saturating_add(other.cost);
        for (sum, n) in self.tokens.iter_mut().zip(other.tokens) {
            *sum = sum.saturating_add(n);
        }
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
    }

    /// Whether some attempt is in it. A report may have read their number without their times.
    pub(crate) fn is_seen(&self) -> bool {
        self.attempts > 0 || self.has_times()
    }

    /// Whether it says when.
    pub(crate) fn has_times(&self) -> bool {
        self.first_ms <= self.last_ms
    }
}
