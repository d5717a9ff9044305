//! Events for the tests of this module.

use std::time::{Duration, UNIX_EPOCH};

use uuid::Uuid;

use crate::{
    context::{Context, Resolved},
    events::{Event, Exchange, Outcome},
    pricing::Cost,
    usage::{Bucket, Usage},
};

/// A plain answer of chat completions.
pub(crate) fn chat() -> Event {
    Event {
        id: Uuid::from_u128(0x018b_cfe5_6800_7000_8000_0000_0000_0001),
        call_id: Uuid::from_u128(0x018b_cfe5_6800_7000_8000_0000_0000_0001),
        attempt: 1,
        context: Context::default(),
        provider: "openai".into(),
        operation: "chat.completions".into(),
        category: "system.openai".into(),
        request_model: Some("gpt-4o".into()),
        response_model: Some("gpt-4o-2024-08-06".into()),
        streamed: false,
        started_at: UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_042),
        latency: Duration::from_millis(321),
        time_to_first_token: None,
        outcome: Outcome::Ok,
        http_status: Some(200),
        error: None,
        usage: Usage::new().with(Bucket::Input, 10).with(Bucket::Output, 5),
        usage_estimated: false,
        usage_suspect: false,
        cost: Cost::UNPRICED,
        reported_cost: None,
        response_id: Some("chatcmpl-1".into()),
        service_tier: None,
        geo: None,
        exchange: Some(Box::new(Exchange {
            provider_uri: Some("https://api.openai.com/v1/".into()),
            instrumented_module: Some("reqwest/0.13".into()),
            response_headers: vec![("x-request-id".into(), "req_1".into())],
            ..Exchange::default()
        })),
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
