//! Events for tests of the ledger.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::SystemTime;

use uuid::Uuid;

use crate::{
    context::{Context, Resolved, Text, UseCase},
    events::{Event, Opening, sample},
    ledger::{Appended, Appender, Keep, Ledger},
    money::Money,
    pricing::{Cost, CostSource},
};

/// An attempt that went well: 10 tokens in, 5 out, for `pico`.
pub(crate) fn event(pico: i64) -> Event {
    let id = Uuid::now_v7();
    Event {
        id,
        call_id: id,
        request_model: Some("gpt-4o-mini".into()),
        response_model: Some("gpt-4o-mini-2024-07-18".into()),
        started_at: SystemTime::now(),
        cost: Cost { amount: Money::from_pico(pico.into()), source: CostSource::Computed },
        response_id: Some(format!("chatcmpl-{}", id.simple()).into()),
        exchange: None,
        ..sample::chat()
    }
}

/// Somebody of `acme`, summarising.
pub(crate) fn who(user: &str) -> Resolved {
    Resolved {
        user_id: Some(Text::new(user)),
        account_name: Some(Text::new("acme")),
        use_case: Some(UseCase { name: Text::new("summarize"), version: Some(2), ..UseCase::default() }),
        ..Resolved::default()
    }
}

/// Writes events the way the writer does.
pub(crate) fn append(ledger: &Ledger, events: &[(Event, Resolved)]) -> Appended {
    let keep = Keep { exchanges: true, prompts: true };
    ledger
        .with(|conn| {
            Appender::default().append(conn, events.iter().map(|(e, w)| (e, w)), &[], "process:test", keep)
        })
        .unwrap()
}

/// The beginning of an attempt.
pub(crate) fn opening(event: &Event) -> Opening {
    Opening {
        id: event.id,
        call_id: event.call_id,
        attempt: event.attempt,
        context: Context::default(),
        provider: event.provider.clone(),
        operation: event.operation.clone(),
        category: event.category.clone(),
        request_model: event.request_model.clone(),
        started_at: event.started_at,
        estimate: None,
    }
}
