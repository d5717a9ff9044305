//! What a keeper of counters must do: the contract that SQLite, a model in memory and later engines share.
//!
//! It is asynchronous and takes batches, so that a store may be across a network; times travel with what
//! is asked, so that a retry means the same. A suite holds every implementation against it
//! (`limits::conformance`).

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    context::Text,
    error::Result,
    events::{Event, Opening},
    limits::{Crossing, Limit, Standing, Tally, micros},
};

/// What a store will say.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Whose counter of a limit it is; all empty where there is one for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// The user, account or use case.
    pub name: Text,
    /// The account a user belongs to.
    pub within: Text,
}

impl Subject {
    /// A user of an account, or an account or use case and `""`.
    pub fn new(name: &str, within: &str) -> Self {
        Self { name: Text::new(name), within: Text::new(within) }
    }
}

/// One counter: a limit, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Counter {
    /// The limit's id.
    pub limit: Arc<str>,
    /// Whose.
    pub subject: Subject,
}

/// A wish of a process for a part of a counter.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Of which.
    pub counter: Counter,
    /// Less than this is of no use.
    pub need: i128,
    /// This much would save the next trip.
    pub want: i128,
    /// For calls at this time, in microseconds since 1970.
    pub at_us: i64,
    /// The number under which others were asked to give back what they do not use; `None` asks them if need be.
    pub recall: Option<u64>,
}

/// What a store says to a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The process holds so much more.
    Granted {
        /// How much.
        amount: i128,
        /// The counter, with that.
        standing: Standing,
    },
    /// There is not enough.
    Short {
        /// The counter as it is.
        standing: Standing,
        /// Others, who may have some to spare, have been asked under this number and have not all answered.
        asked: Option<u64>,
    },
    /// There is no such limit any more.
    Gone,
}

/// Something that a process gives back, or has used up.
#[derive(Clone, Debug)]
pub struct Give {
    /// Of which counter.
    pub counter: Counter,
    /// How much of what it held.
    pub amount: i128,
    /// Of a rate: it was used at this time. Elsewhere facts say what was used.
    pub used_at_us: Option<i64>,
}

/// A limit, as a store has it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Definition {
    /// What it says.
    pub limit: Arc<Limit>,
    /// When it was made, or began to count something else, in microseconds since 1970.
    pub created_us: i64,
    /// When it was last changed.
    pub updated_us: i64,
    /// What began before this does not count: its making or last reset.
    pub epoch_us: i64,
}

impl Definition {
    /// Whether what an attempt of that time holds was given by it, and not by one of the same id before it. While the
    /// clock is behind its making, nobody can say when that was.
    pub(crate) const fn gave(&self, at_us: i64, now_us: i64) -> bool {
        at_us >= self.created_us || now_us < self.created_us
    }

    /// Since when what it counts at `now` has been counted: its window's beginning, or its own; the time since 1970.
    pub fn counts_since(&self, now: SystemTime) -> Duration {
        let slot = self.limit.window.slot(micros(now)).0;
        let since = self.limit.window.oldest(slot).max(self.epoch_us).max(self.created_us);
        Duration::from_micros(since.max(0).cast_unsigned())
    }
}

/// All limits, at one version.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Definitions {
    /// Grows with every change.
    pub version: u64,
    /// In the order of their ids.
    pub limits: Vec<Definition>,
}

/// What a limit has come to, over all its counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// In the window of now, in the limit's unit.
    pub settled: i128,
    /// What of that is over the maximum.
    pub overrun: i128,
    /// Its calls since the last reset.
    pub tally: Tally,
}

/// What a limit had come to when it was reset.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// What the limit said then.
    pub limit: Limit,
    /// The moment from which it counts anew, in microseconds since 1970.
    pub reset_us: i64,
    /// What it had come to, over all its counters.
    pub settled: i128,
    /// What of that was over the maximum.
    pub overrun: i128,
    /// Its calls.
    pub tally: Tally,
}

impl History {
    /// The same without the rest.
    pub const fn totals(&self) -> Totals {
        Totals { settled: self.settled, overrun: self.overrun, tally: self.tally }
    }
}

/// What becomes of a limit: it is given what the limit says, if there is one.
pub type Change<'a> = &'a mut (dyn FnMut(Option<&Definition>) -> Result<Limit> + Send);

/// Keeps counters. All calls may be repeated after an error.
///
/// Invariant: for each counter whose maximum was not lowered, `settled + held <= max`, except for what calls
/// cost beyond the amount reserved for them.
pub trait Store: Send + Sync {
    /// Whether anything may have changed since this was last asked: cheap enough for a hundred times a second.
    fn changed(&self) -> bool;

    /// All limits, unless they are still those of version `known`.
    fn definitions(&self, known: u64) -> Later<'_, Option<Definitions>>;

    /// One limit; `None` if there is none of that id.
    fn definition(&self, id: &str) -> Later<'_, Option<Definition>>;

    /// Gives `process` parts of counters, each for itself, in the order of the wishes.
    fn take(&self, process: &str, asks: Vec<Ask>) -> Later<'_, Vec<Answer>>;

    /// Takes parts back. With `all_of`, this is also the answer of `process` to whoever asked for these
    /// counters: what it now still holds it needs.
    fn give(&self, process: &str, gives: Vec<Give>, all_of: Vec<Counter>) -> Later<'_, ()>;

    /// The counters of which `process` is asked to give back what it does not use.
    fn recalled(&self, process: &str) -> Later<'_, Vec<Counter>>;

    /// Says that `process` lives, for `ttl` from now; `false` if it was given up in between and holds nothing
    /// any more.
    fn keep(&self, process: &str, ttl: Duration) -> Later<'_, bool>;

    /// Notes attempts under way, so that they can be charged should the process die.
    fn open(&self, process: &str, openings: Vec<Opening>) -> Later<'_, ()>;

    /// Charges attempts that have ended, each once however often it is said. What was charged by estimate
    /// for an attempt of a process given up is replaced.
    fn settle(&self, process: &str, events: Vec<Event>) -> Later<'_, Vec<Crossing>>;

    /// Gives up processes whose time is over: charges their attempts under way by estimate, and frees the
    /// rest of what they held. How many attempts that were.
    fn expire(&self) -> Later<'_, u64>;

    /// Makes of the limit `id` what `change` says, under that id; its error changes nothing. Nobody else changes the
    /// limit meanwhile: a store that cannot see to that otherwise asks `change` again. What says the same as before is
    /// not written. The counters stay, unless measure, scope or window are others now: then it is as if the limit had
    /// been removed and made anew. A new limit counts what begins at the second of the times or later; the first one is
    /// when this is done.
    fn update<'a>(&'a self, id: &'a str, times: (i64, i64), change: Change<'a>) -> Later<'a, Definition>;

    /// Makes a limit, or puts it in place of the one of its id, whatever that says.
    fn put(&self, limit: Limit, at_us: i64) -> Later<'_, Definition> {
        Box::pin(async move {
            let id = limit.id.clone();
            self.update(&id, (at_us, at_us), &mut |_| Ok(limit.clone())).await
        })
    }

    /// Removes a limit with its counters; whether there was one.
    fn remove(&self, id: &str) -> Later<'_, bool>;

    /// Starts a limit anew: only what begins at `at_us` or later, and is settled after this, counts. What calls under
    /// way hold stays held. `None` if there is no such limit.
    fn reset(&self, id: &str, at_us: i64) -> Later<'_, Option<History>>;

    /// Counters of a limit at a time, those that have come farthest first, `most` at most.
    fn counters(&self, id: &str, at_us: i64, most: usize) -> Later<'_, Vec<(Subject, Standing)>>;

    /// What a limit has come to at a time, over all its counters; `None` if there is no such limit.
    fn totals(&self, id: &str, at_us: i64) -> Later<'_, Option<Totals>>;

    /// One counter at a time; as if untouched if there is none yet. `None` if there is no such limit.
    fn counter(&self, counter: &Counter, at_us: i64) -> Later<'_, Option<Standing>>;

    /// How many calls left the limit in which state, since its last reset.
    fn tally(&self, id: &str) -> Later<'_, Tally>;
}

/// How much is given of what there is, or `None` if it is not enough: what is needed, and, while there is
/// plenty, some more.
pub fn granted(room: i128, need: i128, want: i128, scarce: bool) -> Option<i128> {
    if need > room {
        return None;
    }
    let spare = (room - need) / 16;
    let more = (want - need).clamp(0, spare);
    Some(if scarce { need } else { need + more })
}
