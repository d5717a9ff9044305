//! Stands for `payi_core::events`: its own events, and a sink for them.

#[path = "../../../../payi-core/src/events/event.rs"]
mod event;
#[path = "../../../../payi-core/src/events/under_way.rs"]
mod under_way;

pub use event::{CallId, Event, Exchange, LimitMark, Opening, Outcome, Verdict};
pub use under_way::UnderWay;

pub trait Sink {
    fn open_unread(&self, attempt: UnderWay);
    fn record(&self, event: Event);
}
