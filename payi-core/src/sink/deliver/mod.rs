//! Carries events from where they are kept to where they should be, beside the application.
//!
//! ```text
//! Source (the ledger, or memory) -> Courier (window, cursor, back-off) -> Place (Pay-i, a file, ..)
//! ```
//!
//! Each place has a courier of its own: a thread with a cursor, so that a place that is down holds up
//! nobody else. Rules:
//! 1. The cursor moves over an event once it was placed, or set aside with a reason; never before.
//! 2. Events go in order, unless the place fails at one of them again and again while it takes others.
//! 3. An event may be sent twice (a crash between answer and cursor), under the same id both times.
//! 4. Nothing is held but the window, so a place may be down for as long as it likes.

mod backoff;
mod courier;
#[cfg(any(test, not(feature = "ledger")))]
mod memory;
mod source;
mod window;

use crate::{context::Resolved, events::Event};

pub(crate) use backoff::Backoff;
pub(crate) use courier::{Courier, Stats};
#[cfg(not(feature = "ledger"))]
pub(crate) use memory::Memory;
#[cfg(feature = "ledger")]
pub(crate) use source::OfLedger;
pub(crate) use source::Source;

/// An event on its way.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// Its place in the order of its source.
    pub(crate) seq: i64,
    /// Who it was for.
    pub(crate) who: Resolved,
    /// What happened.
    pub(crate) event: Event,
    /// It has been sent before, and the answer was lost or bad.
    pub(crate) again: bool,
}

impl Pending {
    /// About how many bytes its texts take.
    fn weight(&self) -> usize {
        self.event.exchange.as_deref().map_or(0, |exchange| {
            let answer: usize = exchange.response_json.iter().map(|part| part.len()).sum();
            exchange.request_json.as_deref().map_or(0, str::len) + answer
        })
    }
}

/// Where events go.
pub(crate) trait Place: Send {
    /// Its name: of its cursor, its thread, and in what is shown of it.
    fn name(&self) -> &'static str;

    /// Sends `batch`. It may wait, within limits of its own.
    fn deliver(&mut self, batch: &[&Pending], source: &dyn Source) -> Report;
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Report {
    /// One for each event, in its order.
    pub(crate) fates: Vec<Fate>,
    /// What to do before the next batch.
    pub(crate) next: Next,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is where it should be.
    Placed,
    /// It will never be: the code says why.
    Refused(Box<str>),
    /// The place is in no state to take anything.
    Later,
    /// The place failed, and it may be because of this event.
    Suspect,
}

/// What to do before the next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on.
    Go,
    /// Send less at once.
    Smaller,
    /// Wait: as long as the place says, else longer each time.
    Wait(Option<std::time::Duration>),
    /// It will not work until somebody does something about it: the code says what.
    Pause(&'static str),
}

impl Report {
    /// The same for each of `n` events.
    pub(crate) fn all(n: usize, fate: &Fate, next: Next) -> Self {
        Self { fates: vec![fate.clone(); n], next }
    }
}
