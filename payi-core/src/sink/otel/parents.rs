//! The application's own span around each call, from the call until its span is delivered.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use opentelemetry::{
    Context,
    trace::{SpanId, TraceContextExt as _, TraceId},
};
use uuid::Uuid;

use crate::events::{Event, Opening, Sink};

/// How many calls are remembered; the spans of older ones stand by themselves.
const KEPT: usize = 16_384;

/// Which span of the application's each call was made in.
#[derive(Clone, Default)]
pub(crate) struct Parents(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    spans: HashMap<Uuid, (TraceId, SpanId)>,
    order: VecDeque<Uuid>,
}

impl Parents {
    pub(crate) fn of(&self, event: Uuid) -> Option<(TraceId, SpanId)> {
        self.lock().spans.get(&event).copied()
    }

    pub(crate) fn forget(&self, event: Uuid) {
        self.lock().spans.remove(&event);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Parents {
    /// Called on the caller's task, where the span around the call is the current one.
    fn open(&self, opening: Opening) {
        let span = Context::map_current(|context| {
            let span = context.span().span_context().clone();
            span.is_valid().then(|| (span.trace_id(), span.span_id()))
        });
        let Some(span) = span else { return };
        let mut inner = self.lock();
        inner.spans.insert(opening.id, span);
        inner.order.push_back(opening.id);
        while inner.order.len() > KEPT {
            if let Some(oldest) = inner.order.pop_front() {
                inner.spans.remove(&oldest);
            }
        }
    }

    fn record(&self, _event: Event) {}

    fn wants_events(&self) -> bool {
        false
    }
}
