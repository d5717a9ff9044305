//! Answers that are made while nobody waits, and whose bill is known only when somebody fetches them.
//!
//! Such a call stays under way until then, with what limits have reserved for it; its bill is its own, whoever
//! fetches it and however often. What is remembered is bounded, in number and in time.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::usage::Reading;

/// How many calls may wait, and how many bills are remembered as known.
const MOST: usize = 1_024;
/// How long a call waits: no provider keeps an answer for long that nobody has fetched.
const LONGEST: Duration = Duration::from_secs(3_600);

/// A call whose bill will be known later.
pub(crate) trait Later: Send + fmt::Debug {
    /// This is its bill.
    fn billed(self: Box<Self>, reading: Reading);

    /// Nobody has fetched it; whether it was charged by estimate.
    fn given_up(self: Box<Self>) -> bool;
}

/// What is known of an answer's bill.
#[derive(Debug)]
pub(crate) enum Bill {
    /// A call of this process waits for it.
    Awaited(Box<dyn Later>),
    /// It is charged already.
    Charged,
    /// Nobody here has made the call; from now on it counts as charged.
    New,
}

/// The calls of one instrumentation that wait for their bills.
#[derive(Debug, Default)]
pub(crate) struct Background {
    /// Something is waiting: others need not look.
    waits: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Answers whose bill is charged, by their ids.
    charged: VecDeque<Box<str>>,
    closed: bool,
}

#[derive(Debug)]
struct Waiting {
    id: Box<str>,
    since: Instant,
    call: Box<dyn Later>,
}

impl State {
    fn charged(&mut self, id: &str) {
        if self.charged.len() == MOST {
            self.charged.pop_front();
        }
        self.charged.push_back(id.into());
    }
}

impl Background {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a call until the bill of the answer `id` is known.
    pub(crate) fn wait(&self, id: Box<str>, call: Box<dyn Later>) {
        let mut state = self.state();
        state.waiting.push_back(Waiting { id, since: Instant::now(), call });
        self.waits.store(true, Relaxed);
        let closed = state.closed;
        drop(state);
        self.give_up(|waiting, _| closed || waiting > MOST);
    }

    /// The bill of the answer `id` has come.
    pub(crate) fn bill(&self, id: &str) -> Bill {
        let mut state = self.state();
        let call = state.waiting.iter().position(|waiting| *waiting.id == *id);
        let call = call.and_then(|at| state.waiting.remove(at));
        if call.is_none() && state.charged.iter().any(|charged| **charged == *id) {
            return Bill::Charged;
        }
        state.charged(id);
        call.map_or(Bill::New, |waiting| Bill::Awaited(waiting.call))
    }

    /// There will be no bill for the answer `id`.
    pub(crate) fn without_bill(&self, id: &str) {
        let mut state = self.state();
        let call = state.waiting.iter().position(|waiting| *waiting.id == *id);
        let call = call.and_then(|at| state.waiting.remove(at));
        drop(state);
        if let Some(waiting) = call {
            self.end(waiting);
        }
    }

    /// Gives up what has waited for too long. Costs next to nothing where nothing waits.
    pub(crate) fn tidy(&self) {
        if self.waits.load(Relaxed) {
            self.give_up(|_, since| since.elapsed() > LONGEST);
        }
    }

    /// Gives up everything, now and from now on.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.give_up(|_, _| true);
    }

    /// Ends the oldest ones for as long as `too_much` says so of their number and of their age.
    fn give_up(&self, too_much: impl Fn(usize, Instant) -> bool) {
        loop {
            let mut state = self.state();
            let waiting = state.waiting.len();
            let oldest = state.waiting.front().is_some_and(|oldest| too_much(waiting, oldest.since));
            let Some(oldest) = oldest.then(|| state.waiting.pop_front()).flatten() else {
                self.waits.store(waiting > 0, Relaxed);
                return;
            };
            drop(state);
            self.end(oldest);
        }
    }

    /// Not under the lock: the call's end goes through limits and sinks.
    fn end(&self, waiting: Waiting) {
        if waiting.call.given_up() {
            self.state().charged(&waiting.id);
        }
    }
}
