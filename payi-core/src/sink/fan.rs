//! One event, several sinks: a sink that panics hurts neither the caller nor its neighbours.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use crate::{
    error::say,
    events::{Event, Opening, Sink, UnderWay, Unread},
};

/// Hands each event to every sink that wants events, in order.
pub(crate) struct Fan {
    /// Those that only want openings come last.
    sinks: Vec<Branch>,
    /// How many want events.
    events: usize,
}

struct Branch {
    sink: Arc<dyn Sink>,
    panicked: AtomicBool,
}

impl Fan {
    pub(crate) fn new(sinks: impl IntoIterator<Item = Arc<dyn Sink>>) -> Self {
        let sinks = sinks.into_iter().map(|sink| Branch { sink, panicked: AtomicBool::new(false) });
        let (mut sinks, others): (Vec<_>, Vec<_>) =
            sinks.partition(|branch| branch.call(true, |sink| sink.wants_events()));
        let events = sinks.len();
        sinks.extend(others);
        Self { sinks, events }
    }

    fn wanting_events(&self) -> &[Branch] {
        &self.sinks[..self.events]
    }

    /// Hands copies to all sinks but the last, which gets the thing itself.
    fn each<T: Clone>(sinks: &[Branch], given: T, hand_over: impl Fn(&dyn Sink, T)) {
        let Some((last, others)) = sinks.split_last() else { return };
        for branch in others {
            let copy = given.clone();
            branch.call((), |sink| hand_over(sink, copy));
        }
        last.call((), |sink| hand_over(sink, given));
    }
}

impl Branch {
    /// Calls the sink; its panic is reported once and goes no further.
    fn call<T>(&self, otherwise: T, f: impl FnOnce(&dyn Sink) -> T) -> T {
        catch_unwind(AssertUnwindSafe(|| f(&*self.sink))).unwrap_or_else(|_| {
            if !self.panicked.swap(true, Ordering::Relaxed) {
                say!(error, target: "payi", "a sink panicked; its events may be incomplete");
            }
            otherwise
        })
    }
}

impl Sink for Fan {
    fn open(&self, opening: Opening) {
        Self::each(&self.sinks, opening, |sink, opening| sink.open(opening));
    }

    fn open_unread(&self, attempt: UnderWay) {
        Self::each(&self.sinks, attempt, |sink, attempt| sink.open_unread(attempt));
    }

    fn record(&self, event: Event) {
        Self::each(self.wanting_events(), event, |sink, event| sink.record(event));
    }

    /// One sink may read it when it likes; for several it is read once.
    fn record_unread(&self, answer: Unread) {
        match self.wanting_events() {
            [only] => only.call((), |sink| sink.record_unread(answer)),
            _ => answer.read_or_complain(self),
        }
    }

    fn flush(&self, deadline: Instant) -> bool {
        // Each gets its turn: a slow first sink may not keep the others from being asked.
        self.sinks.iter().filter(|branch| !branch.call(false, |sink| sink.flush(deadline))).count() == 0
    }
}
