//! What machines ask: whether the service lives, whether it can read, and its figures.

use std::fmt::Write as _;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use payi_core::ledger::read::{Dimension, Order, Query};

use crate::server::app::{App, Failed};

/// The process answers.
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// The ledger can be read.
pub(crate) async fn ready(State(app): State<App>) -> Response {
    match app.view(crate::server::app::health).await {
        Ok(_) => "ready\n".into_response(),
        Err(Failed::Ledger(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the ledger cannot be read\n").into_response()
        }
        Err(Failed::Closing) => (StatusCode::SERVICE_UNAVAILABLE, "closing\n").into_response(),
    }
}

/// Models that get a label of their own in `/metrics`; the rest are `other`.
const MODELS: usize = 50;

/// The ledger's sums as Prometheus text. Users are no label: their number has no bound.
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let mut query = Query::default();
    query.by = vec![Dimension::Provider, Dimension::Model];
    query.order = Order::Calls;
    let read = app.view(move |view| Ok((view.drivers(&query, &[])?, view.health()?))).await;
    let Ok((report, health)) = read else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, String)]| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let total = &report.total.totals;
    let calls = [
        ("ok", total.calls.ok),
        ("failed", total.calls.failed),
        ("aborted", total.calls.aborted),
        ("blocked", total.calls.blocked),
        ("abandoned", total.calls.abandoned),
    ];
    let calls: Vec<_> = calls.map(|(o, n)| (format!("{{outcome=\"{o}\"}}"), n.to_string())).into();
    family("payi_calls_total", "counter", "Calls in the ledger, by how they ended.", &calls);
    let (named, other) = report.rows.split_at(report.rows.len().min(MODELS));
    let mut costs: Vec<(String, String)> = named
        .iter()
        .map(|row| {
            let name = |i: usize| row.names.get(i).and_then(Option::as_deref).map(label).unwrap_or_default();
            let labels = format!("{{provider=\"{}\",model=\"{}\"}}", name(0), name(1));
            (labels, row.figures.totals.cost.to_string())
        })
        .collect();
    let rest = other
        .iter()
        .chain(&report.nameless)
        .map(|row| row.figures.totals.cost)
        .sum::<payi_core::money::Money>();
    costs.push(("{provider=\"\",model=\"other\"}".into(), rest.to_string()));
    family("payi_cost_usd_total", "counter", "Known cost in US dollars, by model.", &costs);
    let one = |n: u64| [(String::new(), n.to_string())];
    family(
        "payi_unpriced_calls_total",
        "counter",
        "Calls whose cost is not known.",
        &one(total.unpriced_calls),
    );
    family("payi_calls_in_flight", "gauge", "Attempts begun and not ended.", &one(health.in_flight));
    family("payi_uptime_seconds", "gauge", "Since the service started.", &one(app.uptime().as_secs()));
    let reasons =
        health.losses.iter().map(|(why, n)| (format!("{{reason=\"{}\"}}", label(why)), n.to_string()));
    family("payi_lost_events_total", "counter", "Events lost, by reason.", &reasons.collect::<Vec<_>>());
    let lag = health
        .deliverers
        .iter()
        .map(|(name, n, _)| (format!("{{deliverer=\"{}\"}}", label(name)), n.to_string()));
    family("payi_delivery_lag_events", "gauge", "Events yet to be delivered.", &lag.collect::<Vec<_>>());
    let asked = app.traffic().counts().into_iter().map(|(route, hundreds, n)| {
        (format!("{{route=\"{}\",status=\"{hundreds}xx\"}}", label(&route)), n.to_string())
    });
    family("payi_http_requests_total", "counter", "Requests answered, by route.", &asked.collect::<Vec<_>>());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out).into_response()
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
