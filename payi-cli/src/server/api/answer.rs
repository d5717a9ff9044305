//! `xproxy_result`: what a client is told of its event.

use payi_core::{context::Resolved, events::Event, money::Money, pricing::Explanation};
use serde_json::{Map, Value, json};

use crate::server::api::units::Unit;

/// The result of an event; `unknown` are units without a price.
pub(crate) fn result(
    event: &Event,
    who: &Resolved,
    explanation: &Explanation,
    unknown: &[Unit],
    duplicate: bool,
) -> Value {
    let case = who.use_case.as_ref();
    let text = |value: Option<&str>| value.map_or(Value::Null, Value::from);
    let mut unknown_units = Map::new();
    for unit in unknown {
        unknown_units.insert(unit.name.clone(), json!({ "input": unit.input, "output": unit.output }));
    }
    let warnings: Vec<_> =
        who.limit_ids.iter().map(|id| format!("no limit {} is kept here", &**id)).collect();
    json!({
        "request_id": event.id.to_string(),
        "resource_id": Value::Null,
        "user_id": text(who.user_id.as_deref()),
        "account_name": text(who.account_name.as_deref()),
        "use_case_id": text(case.and_then(|c| c.id.as_deref())),
        "use_case_name": text(case.map(|c| &*c.name)),
        "use_case_step": text(case.and_then(|c| c.step.as_deref())),
        "request_tags": who.request_tags.iter().map(|t| &**t).collect::<Vec<_>>(),
        "actions": [],
        "blocked_limit_ids": [],
        "warnings": warnings,
        "cost": cost(event, explanation),
        "limits": {},
        "unknown_units": unknown_units,
        "duplicate_request": duplicate,
    })
}

/// The cost, and how much of it was read and written.
fn cost(event: &Event, explanation: &Explanation) -> Value {
    let total = event.cost.amount;
    let written: Money = explanation
        .lines
        .iter()
        .filter(|line| matches!(line.item, "output" | "reasoning" | "audio_output" | "image_output"))
        .filter_map(|line| line.amount)
        .sum();
    // Prices of one's own are not in the explanation: there the whole counts as read.
    let written = if explanation.cost.amount == total { written } else { Money::ZERO };
    let read = Money::from_pico(total.pico() - written.pico());
    json!({
        "currency": "usd",
        "input": { "base": number(read) },
        "output": { "base": number(written) },
        "total": { "base": number(total), "overrun_base": Value::Null },
    })
}

/// A JSON number: the API has floats. Exact to 15 digits, which every cost of one request has less than.
pub(crate) fn number(amount: Money) -> Value {
    amount.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}
