//! Events for tests.

use std::time::{Duration, UNIX_EPOCH};

use uuid::Uuid;

use crate::{
    context::Resolved,
    events::{Event, Exchange},
    usage::{Bucket, Usage},
};

/// A plain answer of chat completions, the same each time.
pub(crate) fn chat() -> Event {
    let at = UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_042);
    Event {
        provider: "openai".into(),
        operation: "chat.completions".into(),
        request_model: Some("gpt-4o".into()),
        response_model: Some("gpt-4o-2024-08-06".into()),
        latency: Duration::from_millis(321),
        http_status: Some(200),
        usage: Usage::new().with(Bucket::Input, 10).with(Bucket::Output, 5),
        response_id: Some("chatcmpl-1".into()),
        exchange: Some(Box::new(Exchange {
            provider_uri: Some("https://api.openai.com/v1/".into()),
            instrumented_module: Some("reqwest/0.13".into()),
            response_headers: vec![("x-request-id".into(), "req_1".into())],
            ..Exchange::default()
        })),
        ..Event::collected(Uuid::from_u128(0x018b_cfe5_6800_7000_8000_0000_0000_0001), at, "system.openai")
    }
}

/// A plain answer of Anthropic's messages.
pub(crate) fn messages() -> Event {
    Event {
        provider: "anthropic".into(),
        operation: "messages".into(),
        category: "system.anthropic".into(),
        request_model: Some("claude-sonnet-4-5".into()),
        response_model: Some("claude-sonnet-4-5".into()),
        response_id: Some("msg_1".into()),
        ..chat()
    }
}

/// Somebody.
pub(crate) fn who(user: &str) -> Resolved {
    Resolved { user_id: Some(user.into()), ..Resolved::default() }
}
