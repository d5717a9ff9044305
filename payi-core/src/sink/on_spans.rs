//! Who a call is for, on the application's own `tracing` spans.

use crate::events::{Event, Opening, Sink};

/// Records `user.id`, `payi.account.name` and `payi.use_case.name` on the span that a call is made in.
///
/// `tracing` takes only fields that a span has declared: `user.id = tracing::field::Empty`.
pub(crate) struct OnSpans;

impl Sink for OnSpans {
    fn open(&self, opening: Opening) {
        let span = tracing::Span::current();
        if span.is_disabled() {
            return;
        }
        let who = opening.context.resolve();
        let record = |field: &str, value: Option<&str>| {
            if let Some(value) = value {
                span.record(field, value);
            }
        };
        record("user.id", who.user_id.as_deref());
        record("payi.account.name", who.account_name.as_deref());
        record("payi.use_case.name", who.use_case.as_ref().map(|u| &*u.name));
    }

    fn record(&self, _event: Event) {}

    fn wants_events(&self) -> bool {
        false
    }
}
