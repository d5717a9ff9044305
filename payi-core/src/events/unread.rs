//! Attempts that have ended, and whose answers are read afterwards: by whoever takes the event, where it suits him.

use std::{fmt, sync::Arc};

use crate::{
    defect::{Defect, guarded},
    error::say,
    events::{Event, Sink},
};

/// What is left to be done for an attempt before it is an event.
pub(crate) trait Rest: Send + Sync {
    /// Does it; `None` if the call goes on, in the background.
    fn read(self: Arc<Self>) -> Option<Event>;
}

/// An attempt that has ended, but its answer, which is all here, has yet to be read.
///
/// Nobody waits for it: neither a limit nor a receipt.
#[must_use = "an attempt whose answer is never read leaves no event"]
pub struct Unread {
    rest: Arc<dyn Rest>,
    bytes: usize,
}

impl Unread {
    #[cfg(any(feature = "_http", all(test, feature = "ledger")))]
    pub(crate) fn new(rest: Arc<impl Rest + 'static>, bytes: usize) -> Self {
        Self { rest, bytes }
    }

    /// Reads the answer, and prices what it used. `None` if the answer only announces another, made in the background:
    /// the call's event is recorded when that is fetched. `None`, too, where a defect of payi's keeps it from being read.
    pub fn read(self) -> Option<Event> {
        self.try_read().ok().flatten()
    }

    /// The same, told apart.
    pub(crate) fn try_read(self) -> Result<Option<Event>, Defect> {
        guarded(|| self.rest.read())
    }

    /// Reads the answer here and now, for a sink that gets the event.
    pub(crate) fn read_for(self, sink: &(impl Sink + ?Sized)) -> Result<(), Defect> {
        if let Some(event) = self.try_read()? {
            sink.record(event);
        }
        Ok(())
    }

    /// The same, for a sink that counts no losses.
    pub(crate) fn read_or_complain(self, sink: &(impl Sink + ?Sized)) {
        if self.read_for(sink).is_err() {
            say!(error, target: "payi", "an answer could not be read, and its call is not recorded: a defect of payi's");
        }
    }

    /// How long the answer is, with the sample of what was asked, in bytes of memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unread").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
