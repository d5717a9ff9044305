//! What a report adds up.

use std::time::SystemTime;

use crate::{
    events::Outcome,
    ledger::{read::scan::Entry, rows::time},
    money::Money,
    pricing::CostSource,
};

/// Calls by how they ended.
///
/// A call that was retried counts once, by its last attempt; the money and the tokens of every attempt
/// count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calls {
    /// Answered and read to the end.
    pub ok: u64,
    /// Refused or broken off by the provider, or not reached.
    pub failed: u64,
    /// Left by the caller before the end.
    pub aborted: u64,
    /// Refused by a limit before they were sent.
    pub blocked: u64,
    /// Found open after their process had died.
    pub abandoned: u64,
}

impl Calls {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.ok + self.failed + self.aborted + self.blocked + self.abandoned
    }

    pub(crate) fn of(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Failed => &mut self.failed,
            Outcome::Aborted => &mut self.aborted,
            Outcome::Blocked => &mut self.blocked,
            Outcome::Abandoned => &mut self.abandoned,
        }
    }
}

/// Tokens in five groups that do not overlap; audio, image and video tokens are in the group they were
/// billed as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tokens {
    /// Read afresh.
    pub input: u64,
    /// Read from a cache.
    pub cache_read: u64,
    /// Written to a cache.
    pub cache_write: u64,
    /// Written, reasoning apart.
    pub output: u64,
    /// Hidden reasoning.
    pub reasoning: u64,
}

impl Tokens {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.input + self.cache_read + self.cache_write + self.output + self.reasoning
    }
}

/// One row's figures, or the sum of several rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Calls by how they ended.
    pub calls: Calls,
    /// Attempts: at least one per call, more where calls were retried.
    pub attempts: u64,
    /// Tokens of all attempts.
    pub tokens: Tokens,
    /// What is known of the cost, of all attempts; exact.
    pub cost: Money,
    /// Calls whose cost is not known and not in `cost`: no price is known for their model.
    pub unpriced_calls: u64,
    /// When the first attempt began, to the millisecond.
    pub first_seen: Option<SystemTime>,
    /// When the last attempt began, to the millisecond.
    pub last_seen: Option<SystemTime>,
}

impl Totals {
    /// Adds another row's figures.
    pub fn add(&mut self, other: &Self) {
        for outcome in Outcome::ALL {
            let mut calls = other.calls;
            *self.calls.of(outcome) += *calls.of(outcome);
        }
        self.attempts += other.attempts;
        self.tokens.input += other.tokens.input;
        self.tokens.cache_read += other.tokens.cache_read;
        self.tokens.cache_write += other.tokens.cache_write;
        self.tokens.output += other.tokens.output;
        self.tokens.reasoning += other.tokens.reasoning;
        self.cost += other.cost;
        self.unpriced_calls += other.unpriced_calls;
        self.first_seen = [self.first_seen, other.first_seen].into_iter().flatten().min();
        self.last_seen = self.last_seen.max(other.last_seen);
    }

    /// Takes a part's figures away; the times stay as they are.
    pub(crate) fn take(&mut self, part: &Self) {
        for outcome in Outcome::ALL {
            let mut calls = part.calls;
            let (sum, n) = (self.calls.of(outcome), *calls.of(outcome));
            *sum = sum.saturating_sub(n);
        }
        self.attempts = self.attempts.saturating_sub(part.attempts);
        self.tokens.input = self.tokens.input.saturating_sub(part.tokens.input);
        self.tokens.cache_read = self.tokens.cache_read.saturating_sub(part.tokens.cache_read);
        self.tokens.cache_write = self.tokens.cache_write.saturating_sub(part.tokens.cache_write);
        self.tokens.output = self.tokens.output.saturating_sub(part.tokens.output);
        self.tokens.reasoning = self.tokens.reasoning.saturating_sub(part.tokens.reasoning);
        self.cost = Money::from_pico(self.cost.pico().saturating_sub(part.cost.pico()));
        self.unpriced_calls = self.unpriced_calls.saturating_sub(part.unpriced_calls);
    }
}

/// Figures in the making. What is signed here, because a part may take back what another part counted, is not in
/// the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    calls: [i64; Outcome::ALL.len()],
    attempts: i64,
    unpriced: i64,
    tokens: [i64; 5],
    pub(super) cost: i128,
    pub(super) by_source: [i128; CostSource::ALL.len()],
    first_ms: i64,
    last_ms: i64,
    /// What was spent in the range before, if that is asked for.
    pub(super) before: Option<i128>,
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            calls: [0; 5],
            attempts: 0,
            unpriced: 0,
            tokens: [0; 5],
            cost: 0,
            by_source: [0; 4],
            first_ms: i64::MAX,
            last_ms: i64::MIN,
            before: None,
        }
    }
}

impl Sum {
    pub(crate) fn add(&mut self, entry: &Entry<'_>) {
        let (cell, how) = (entry.cell, entry.how);
        self.calls[how.outcome as usize] += cell.calls;
        self.attempts += cell.attempts;
        self.unpriced += if how.unpriced { cell.calls } else { 0 };
        for (sum, n) in self.tokens.iter_mut().zip(cell.tokens) {
            *sum = sum.saturating_add(n);
        }
        self.cost += cell.cost;
        self.by_source[how.source as usize] += cell.cost;
        self.first_ms = self.first_ms.min(cell.first_ms);
        self.last_ms = self.last_ms.max(cell.last_ms);
    }

    /// Adds another part of the same row.
    pub(super) fn join(&mut self, other: &Self) {
        for (sum, n) in self.calls.iter_mut().zip(other.calls) {
            *sum += n;
        }
        self.attempts += other.attempts;
        self.unpriced += other.unpriced;
        for (sum, n) in self.tokens.iter_mut().zip(other.tokens) {
            *sum = sum.saturating_add(n);
        }
        self.cost += other.cost;
        for (sum, cost) in self.by_source.iter_mut().zip(other.by_source) {
            *sum += cost;
        }
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        if let Some(before) = other.before {
            self.before = Some(self.before.unwrap_or(0) + before);
        }
    }

    /// Adds what was spent in the range before.
    pub(super) fn add_before(&mut self, entry: &Entry<'_>) {
        self.before = Some(self.before.unwrap_or(0) + entry.cell.cost);
    }

    pub(super) fn is_seen(&self) -> bool {
        self.first_ms <= self.last_ms
    }

    pub(crate) fn totals(&self) -> Totals {
        let count = |n: i64| n.max(0).cast_unsigned();
        let mut totals = Totals::default();
        for (outcome, n) in Outcome::ALL.into_iter().zip(self.calls) {
            *totals.calls.of(outcome) = count(n);
        }
        let [input, cache_read, cache_write, output, reasoning] = self.tokens.map(count);
        totals.tokens = Tokens { input, cache_read, cache_write, output, reasoning };
        totals.attempts = count(self.attempts);
        totals.unpriced_calls = count(self.unpriced);
        totals.cost = Money::from_pico(self.cost);
        if self.is_seen() {
            totals.first_seen = Some(time(self.first_ms.saturating_mul(1000)));
            totals.last_seen = Some(time(self.last_ms.saturating_mul(1000)));
        }
        totals
    }
}
