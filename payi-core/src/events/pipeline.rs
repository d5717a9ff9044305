//! Where a finished event goes, and what a call needs to know to make one.

use std::{any::Any, fmt, sync::Arc, time::Instant};

use crate::{
    context::KeySet,
    events::{Background, Clock, Event, Mappings, Opening, PayIAccess, SystemClock, UnderWay, Unread},
    pricing::PriceBook,
};

/// Takes events. Called on the caller's task: it may not wait, do I/O or panic.
pub trait Sink: Send + Sync {
    /// An attempt has begun. What is never followed by [`Sink::record`] was abandoned.
    fn open(&self, opening: Opening) {
        let _ = opening;
    }

    /// An attempt has begun whose request may be yet to be read: at once, on the caller's task, unless the sink has a
    /// better time for it. A sink that does nothing with openings does nothing here either, lest they are read for it.
    fn open_unread(&self, attempt: UnderWay) {
        if let Some(opening) = attempt.read() {
            self.open(opening);
        }
    }

    /// An attempt has ended.
    fn record(&self, event: Event);

    /// An attempt has ended whose answer is yet to be read: at once, on the caller's task, unless the sink has a better
    /// place for it. A sink that keeps it has to read it: who drops it loses the event.
    fn record_unread(&self, answer: Unread) {
        answer.read_or_complain(self);
    }

    /// Whether it does anything with events; `false` of one that is only told what begins.
    fn wants_events(&self) -> bool {
        true
    }

    /// Waits until what was recorded before is where it goes, or until `deadline`; whether it is.
    ///
    /// Never called on a caller's task: here waiting is allowed.
    fn flush(&self, deadline: Instant) -> bool {
        let _ = deadline;
        true
    }
}

/// Whether streams of chat completions are made to carry their usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamUsage {
    /// For hosts known to accept it, `stream_options.include_usage` is added to the request and the
    /// extra chunk is hidden from the caller.
    #[default]
    Auto,
    /// The request is sent exactly as it was written; such streams are estimated or unpriced.
    Never,
}

/// What every call of one instrumentation shares.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Settings {
    /// Whether streams are made to carry their usage.
    pub stream_usage: StreamUsage,
    /// Whether prompts and answers are kept, unless a scope says otherwise.
    pub log_prompt_and_response: bool,
    /// Prompts and answers are not kept, whatever a scope says: `log_prompt_and_response(false)` at
    /// the start is final.
    pub never_log: bool,
    /// Pictures, sound and files inside of prompts and answers are kept with them.
    pub instrument_inline_data: bool,
    /// Where Pay-i is, for calls that go through its proxy.
    pub(crate) pay_i: Arc<PayIAccess>,
    /// Whether what only Pay-i keeps is gathered: headers of answers, addresses, the tools called.
    pub exchange: bool,
    /// The keys that every call must have a value for.
    pub require: KeySet,
    /// Whether a call without one of those is refused, rather than noted with where it was made.
    pub refuse_unattributed: bool,
    /// Hosts that accept `stream_options.include_usage`, beside those known to.
    pub stream_usage_hosts: Vec<Box<str>>,
    /// As what hosts and models are priced, where nothing nearer says it.
    pub mappings: Mappings,
}

/// One instrumentation: carried by the root of a context, found by a call through its context.
#[derive(Clone)]
#[non_exhaustive]
pub struct Pipeline {
    /// Takes the events.
    pub sink: Arc<dyn Sink>,
    /// Prices them.
    pub book: &'static PriceBook,
    /// Gives attempts their ids and times.
    pub clock: Arc<dyn Clock>,
    /// Says how calls are treated.
    pub settings: Settings,
    /// The gate of `limits`, which is not known here.
    pub(crate) gate: Option<Arc<dyn Any + Send + Sync>>,
    /// The calls that wait for their bills.
    pub(crate) background: Arc<Background>,
}

impl Pipeline {
    /// A pipeline into `sink`, with the embedded prices, the machine's clock and default settings.
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self {
            sink,
            book: PriceBook::embedded(),
            clock: Arc::new(SystemClock),
            settings: Settings::default(),
            gate: None,
            background: Arc::default(),
        }
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("settings", &self.settings).finish_non_exhaustive()
    }
}
