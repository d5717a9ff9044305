//! Stands for `payi_core::events`: its own events, and a sink for them.

#[path = "../../../../payi-core/src/events/event.rs"]
mod event;

pub use event::{CallId, Event, Exchange, LimitMark, Opening, Outcome, Verdict};

pub trait Sink {
    fn record(&self, event: Event);
}
