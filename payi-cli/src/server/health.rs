//! What machines ask: whether the service lives, whether it can read, and its figures.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use payi_core::{
    ledger::read::{Dimension, Drivers, Order, Query},
    money::Money,
};

use crate::server::{
    api::Writer,
    app::{App, Failed},
};

/// The process answers.
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// The ledger can be read, and events are taken.
pub(crate) async fn ready(State((app, writer)): State<(App, Writer)>) -> Response {
    let unready = |why| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    match app.health().await {
        Ok(_) if !writer.takes_events() => unready("events are refused: the collector has ended\n"),
        Ok(_) => "ready\n".into_response(),
        Err(Failed::Ledger(_) | Failed::Panicked) => unready("the ledger cannot be read\n"),
        Err(Failed::Closing) => unready("closing\n"),
    }
}

/// Models that get a label of their own in `/metrics`; the rest are `other`.
const MODELS: usize = 50;

/// The ledger's sums as Prometheus text. Users are no label: their number has no bound.
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let mut query = Query::default();
    query.by = vec![Dimension::Provider, Dimension::Model];
    (query.order, query.limit) = (Order::Calls, Some(MODELS));
    let read = app.view(move |view| Ok((view.drivers(&query, &[])?, view.health()?))).await;
    let Ok((report, health)) = read else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let mut text = Text::default();
    spend(&report, &mut text);
    text.one("payi_calls_in_flight", "gauge", "Attempts begun and not ended.", health.in_flight);
    text.one("payi_uptime_seconds", "gauge", "Since the service started.", app.uptime().as_secs());
    let lost = health.losses.iter().map(|(why, n)| (labels(&[("reason", why)]), n));
    text.family("payi_lost_events_total", "counter", "Events lost, by reason.", lost);
    let lag = health.deliverers.iter().map(|(name, n, _)| (labels(&[("deliverer", name)]), n));
    text.family("payi_delivery_lag_events", "gauge", "Events yet to be delivered.", lag);
    let asked =
        app.traffic().counts().into_iter().map(|(route, hundreds, n)| {
            (labels(&[("route", &route), ("status", &format!("{hundreds}xx"))]), n)
        });
    text.family("payi_http_requests_total", "counter", "Requests answered, by route.", asked);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.0).into_response()
}

/// Calls, and what they cost. By model that is a gauge: a model that comes to be among the named ones takes what it
/// cost away from `other`, which a counter may not.
fn spend(report: &Drivers, text: &mut Text) {
    let total = &report.total.totals;
    let calls = [
        ("ok", total.calls.ok),
        ("failed", total.calls.failed),
        ("aborted", total.calls.aborted),
        ("blocked", total.calls.blocked),
        ("abandoned", total.calls.abandoned),
    ];
    let calls = calls.map(|(outcome, n)| (labels(&[("outcome", outcome)]), n));
    text.family("payi_calls_total", "counter", "Calls in the ledger, by how they ended.", calls);
    text.one("payi_cost_usd_total", "counter", "Known cost in US dollars.", total.cost);
    // As labels, two names may be the same: what is long is cut.
    let mut costs: BTreeMap<String, Money> = BTreeMap::new();
    let mut other = total.cost;
    for row in &report.rows {
        let name = |i: usize| row.names.get(i).and_then(Option::as_deref).unwrap_or_default();
        let cost = row.figures.totals.cost;
        *costs.entry(labels(&[("provider", name(0)), ("model", name(1))])).or_default() += cost;
        other = Money::from_pico(other.pico() - cost.pico());
    }
    *costs.entry(labels(&[("provider", ""), ("model", "other")])).or_default() += other;
    let help = "Known cost in US dollars, by model: the busiest, and all others as one.";
    text.family("payi_model_cost_usd", "gauge", help, costs);
    let help = "Calls whose cost is not known.";
    text.one("payi_unpriced_calls_total", "counter", help, total.unpriced_calls);
}

/// Text of the format 0.0.4.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family<V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, V)>,
    ) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help, [(String::new(), value)]);
    }
}

fn labels(values: &[(&str, &str)]) -> String {
    let values: Vec<_> = values.iter().map(|(name, value)| format!("{name}=\"{}\"", label(value))).collect();
    format!("{{{}}}", values.join(","))
}

/// A label's value: short, on one line, quotes escaped.
fn label(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(120) {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
