//! Answers that are made while nobody waits, and whose bill is known only when somebody fetches them.
//!
//! Such a call stays under way until then, with what limits have reserved for it; its bill is its own, whoever
//! fetches it and however often. What is remembered is bounded, in number and in time: while something waits, a thread
//! of its own gives it up in time, whether or not other calls end.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
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

    /// Its bill was charged, to whoever has fetched it, before it began to wait.
    fn charged_already(self: Box<Self>);

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
#[derive(Debug)]
pub(crate) struct Background {
    state: Mutex<State>,
    closing: Condvar,
    longest: Duration,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Answers whose bill is charged, by their ids.
    charged: VecDeque<Box<str>>,
    /// A thread gives up what has waited for too long.
    watched: bool,
    closed: bool,
}

impl Default for Background {
    fn default() -> Self {
        Self { state: Mutex::default(), closing: Condvar::new(), longest: LONGEST }
    }
}

#[derive(Debug)]
struct Waiting {
    id: Box<str>,
    since: Instant,
    call: Box<dyn Later>,
}

impl State {
    /// The call that waits for the bill of the answer `id`, if there is one.
    fn take(&mut self, id: &str) -> Option<Waiting> {
        let at = self.waiting.iter().position(|waiting| *waiting.id == *id)?;
        self.waiting.remove(at)
    }

    fn is_charged(&self, id: &str) -> bool {
        self.charged.iter().any(|charged| **charged == *id)
    }

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
    pub(crate) fn wait(self: &Arc<Self>, id: Box<str>, call: Box<dyn Later>) {
        let mut state = self.state();
        if state.is_charged(&id) {
            drop(state);
            return call.charged_already();
        }
        state.waiting.push_back(Waiting { id, since: Instant::now(), call });
        let closed = state.closed;
        let unwatched = !closed && !std::mem::replace(&mut state.watched, true);
        drop(state);
        self.give_up(|waiting, _| closed || waiting > MOST);
        if unwatched {
            self.start_watch();
        }
    }

    /// Without that thread, the next call that waits tries again to start it.
    fn start_watch(self: &Arc<Self>) {
        let background = Arc::clone(self);
        let thread = thread::Builder::new().name("payi-background".to_owned());
        if let Err(error) = thread.spawn(move || background.watch()) {
            self.state().watched = false;
            crate::error::say!(warn, target: "payi", %error, "no thread to give up answers that nobody fetches; what is reserved for them stays reserved");
        }
    }

    /// Gives up what has waited for too long, until nothing waits.
    fn watch(&self) {
        let mut state = self.state();
        while let Some(oldest) = state.waiting.front().filter(|_| !state.closed) {
            let left = self.longest.saturating_sub(oldest.since.elapsed());
            if left.is_zero() {
                drop(state);
                self.give_up(|_, since| since.elapsed() >= self.longest);
                state = self.state();
            } else {
                state = self.closing.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        state.watched = false;
    }

    /// The bill of the answer `id` has come.
    pub(crate) fn bill(&self, id: &str) -> Bill {
        let mut state = self.state();
        let call = state.take(id);
        if call.is_none() && state.is_charged(id) {
            return Bill::Charged;
        }
        state.charged(id);
        call.map_or(Bill::New, |waiting| Bill::Awaited(waiting.call))
    }

    /// There will be no bill for the answer `id`.
    pub(crate) fn without_bill(&self, id: &str) {
        // Not in the condition: its lock would be held until the call has ended.
        let call = self.state().take(id);
        if let Some(waiting) = call {
            self.end(waiting);
        }
    }

    /// Gives up everything, now and from now on.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.closing.notify_all();
        self.give_up(|_, _| true);
    }

    /// Ends the oldest ones for as long as `too_much` says so of their number and of their age.
    fn give_up(&self, too_much: impl Fn(usize, Instant) -> bool) {
        loop {
            let mut state = self.state();
            let waiting = state.waiting.len();
            let oldest = state.waiting.front().is_some_and(|oldest| too_much(waiting, oldest.since));
            let Some(oldest) = oldest.then(|| state.waiting.pop_front()).flatten() else { return };
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

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test may panic")]

    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Says how it ended.
    #[derive(Debug)]
    struct Call(Sender<&'static str>);

    impl Later for Call {
        fn billed(self: Box<Self>, _: Reading) {
            let _ = self.0.send("billed");
        }

        fn charged_already(self: Box<Self>) {
            let _ = self.0.send("charged already");
        }

        fn given_up(self: Box<Self>) -> bool {
            let _ = self.0.send("given up");
            true
        }
    }

    #[test]
    fn what_nobody_fetches_is_given_up_though_no_other_call_ends() {
        const SOON: Duration = Duration::from_millis(20);
        let background = Arc::new(Background { longest: SOON, ..Background::default() });
        let (end, ended) = channel();
        let within = || ended.recv_timeout(Duration::from_secs(10)).expect("an end");
        let began = Instant::now();
        for id in ["a", "b"] {
            background.wait(id.into(), Box::new(Call(end.clone())));
            assert_eq!(within(), "given up");
            assert!(began.elapsed() >= SOON, "too early");
        }
        // It was charged by estimate: its bill is not charged besides, and a second call for it is not either.
        assert!(matches!(background.bill("a"), Bill::Charged));
        background.wait("a".into(), Box::new(Call(end.clone())));
        assert_eq!(within(), "charged already");
        background.close();
        background.wait("c".into(), Box::new(Call(end)));
        assert_eq!(within(), "given up");
    }

    #[test]
    fn the_thread_ends_with_the_instrumentation_and_not_before() {
        let background = Arc::new(Background::default());
        let (end, ended) = channel();
        background.wait("a".into(), Box::new(Call(end)));
        assert!(background.state().watched && ended.try_recv().is_err());
        background.close();
        assert_eq!(ended.recv().expect("an end"), "given up");
        let since = Instant::now();
        while Arc::strong_count(&background) > 1 {
            assert!(since.elapsed() < Duration::from_secs(10), "the thread is still there");
            thread::yield_now();
        }
    }
}
