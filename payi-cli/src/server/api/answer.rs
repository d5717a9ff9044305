//! `xproxy_result`: what a client is told of its event.

use std::sync::Arc;

use payi_core::{ledger::StoredEvent, limits::LimitState, money::Money};
use serde_json::{Map, Value, json};

use crate::server::{
    api::{
        limits,
        prices::{Priced, Prices, Sides},
        units,
        wire::Understood,
    },
    request::explain,
};

/// What became of an event, beside its cost.
#[derive(Debug, Default)]
pub(crate) struct Limited {
    pub(crate) duplicate: bool,
    pub(crate) states: Vec<(Arc<str>, LimitState)>,
    /// Limit ids that it names and nobody has made.
    pub(crate) unknown: Vec<String>,
}

impl Limited {
    fn with(&self, state: LimitState) -> Vec<&str> {
        self.states.iter().filter(|(_, is)| *is == state).map(|(id, _)| &**id).collect()
    }
}

/// The result of an event.
pub(crate) fn result(of: &Understood, placed: &Limited) -> Value {
    let Understood { event, who, priced } = of;
    let case = who.use_case.as_ref();
    let text = |value: Option<&str>| value.map_or(Value::Null, Value::from);
    let mut unknown_units = Map::new();
    for unit in &priced.unknown {
        unknown_units.insert(unit.name.clone(), json!({ "input": unit.input, "output": unit.output }));
    }
    let warnings: Vec<_> = placed.unknown.iter().map(|id| format!("no limit {id} is kept here")).collect();
    json!({
        "request_id": event.id.to_string(),
        "resource_id": priced.resource_id,
        "user_id": text(who.user_id.as_deref()),
        "account_name": text(who.account_name.as_deref()),
        "use_case_id": text(case.and_then(|c| c.id.as_deref())),
        "use_case_name": text(case.map(|c| &*c.name)),
        "use_case_step": text(case.and_then(|c| c.step.as_deref())),
        "request_tags": who.request_tags.iter().map(|t| &**t).collect::<Vec<_>>(),
        "actions": [],
        "blocked_limit_ids": placed.with(LimitState::Blocked),
        "warnings": warnings,
        "cost": cost(event.cost.amount, priced.sides),
        "limits": limits::states(&placed.states),
        "unknown_units": unknown_units,
        "duplicate_request": placed.duplicate,
    })
}

/// An event of the ledger as it was understood when it arrived, as far as the ledger remembers that: units of one's
/// own, which no bucket counts, are not in it.
pub(crate) fn recalled(stored: StoredEvent, own: &Prices) -> Understood {
    let StoredEvent { event, who, .. } = stored;
    let custom = own.find(&event.category, event.request_model.as_deref(), event.started_at);
    let mut priced = match custom {
        Some(custom) => {
            let counts = event.usage.iter().map(|(bucket, count)| (bucket.name(), count));
            custom.price(&units::named(counts))
        }
        None => Priced::by_book(&explain(&event, &who, own.book()), Vec::new()),
    };
    if priced.sides.total() != event.cost.amount {
        // Prices were other ones then, or the provider said what it costs: how it divides is not known any more.
        priced.sides = Sides { read: event.cost.amount, written: Money::ZERO };
    }
    Understood { event, who, priced }
}

/// The cost, and how much of it was read and written.
fn cost(total: Money, sides: Sides) -> Value {
    json!({
        "currency": "usd",
        "input": { "base": number(sides.read) },
        "output": { "base": number(sides.written) },
        "total": { "base": number(total), "overrun_base": Value::Null },
    })
}

/// A JSON number: the API has floats. Exact to 15 digits, which every cost of one request has less than.
pub(crate) fn number(amount: Money) -> Value {
    amount.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// US dollars from JSON: a number, or text.
pub(crate) fn dollars(value: &Value) -> Option<Money> {
    match value {
        // A float's shortest form is what the client wrote; without an exponent, which small ones have.
        Value::Number(number) => number.as_f64()?.to_string().parse().ok(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
