//! What an OpenTelemetry collector receives, decoded.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::metric::Data,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use payi::testing::{Answer, PayI, PayIAnswer, Provider};
use prost::Message as _;

/// Attributes by name, as text.
fn attributes(pairs: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(n)) => n.to_string(),
        other => format!("{other:?}"),
    };
    pairs.iter().map(|pair| (pair.key.as_str(), text(pair))).collect()
}

fn spans(collector: &PayI) -> Vec<Span> {
    let requests = collector.requests().into_iter().filter(|request| request.path == "/v1/traces");
    let exports = requests.map(|request| ExportTraceServiceRequest::decode(&*request.bytes).unwrap());
    let resources = exports.flat_map(|export| export.resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

async fn call(provider: &Provider) {
    let url = format!("{}/v1/chat/completions", provider.url());
    let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
    let answer = payi::reqwest::Client::new().post(url).body(body).send().await.unwrap();
    answer.bytes().await.unwrap();
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a log shows of the application's own span around a call.
fn on_a_span(runtime: &tokio::runtime::Runtime, provider: &Provider) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, || {
        let empty = tracing::field::Empty;
        let span = tracing::info_span!("handle", user.id = empty, payi.use_case.name = empty);
        let _inside = span.enter();
        runtime.block_on(async {
            payi::track_context!(user_id = "u-7", use_case_name = "chat", { call(provider).await });
        });
        tracing::info!("done");
    });
    String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned()
}

#[test]
fn otlp_brings_a_span_per_attempt_and_metrics() {
    let (collector, provider) = (PayI::start().unwrap(), Provider::start().unwrap());
    // Down at first: what is recorded then must not be missing later.
    collector.script(|_| PayIAnswer::status(503, ""));
    let guard = payi::instrument().in_memory().otlp(collector.url()).record_on_spans().start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outer = (TraceId::from_bytes([7; 16]), SpanId::from_bytes([9; 8]));
    runtime.block_on(async {
        payi::track_context!(user_id = "u-1", account_name = "acme", use_case_name = "summarize", {
            call(&provider).await
        });
        assert!(guard.flush(Duration::from_secs(5)).await.is_err(), "the collector is down");
        collector.script(|_| PayIAnswer::status(200, ""));

        provider.next(Answer::json(r#"{"error":{"code":"rate_limit_exceeded"}}"#).status(429));
        let parent = SpanContext::new(outer.0, outer.1, TraceFlags::SAMPLED, false, TraceState::default());
        let attached = opentelemetry::Context::current().with_remote_span_context(parent).attach();
        let sent = call(&provider); // sent, and so begun, inside the application's span
        sent.await;
        drop(attached);
        guard.flush(Duration::from_secs(5)).await.unwrap();
    });
    assert!(on_a_span(&runtime, &provider).contains(r#"user.id="u-7" payi.use_case.name="chat""#));
    drop(guard); // exports the metrics

    let spans = spans(&collector);
    // The first export was refused, and so sent again.
    let for_user =
        |span: &&Span| attributes(&span.attributes).get("user.id").is_some_and(|user| user == "u-1");
    let first = spans.iter().rfind(for_user).unwrap();
    assert!(first.parent_span_id.is_empty());
    let seen = attributes(&first.attributes);
    assert_eq!(first.name, "chat gpt-4o-mini");
    assert_eq!(first.kind, SpanKind::Client as i32);
    assert!(first.end_time_unix_nano > first.start_time_unix_nano);
    for (key, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "gpt-4o-mini"),
        ("user.id", "u-1"),
        ("payi.account.name", "acme"),
        ("payi.use_case.name", "summarize"),
        ("payi.cost.source", "computed"),
        ("payi.outcome", "ok"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(seen.get(key).map(String::as_str), Some(value), "{key} of {seen:#?}");
    }
    assert!(seen["gen_ai.usage.input_tokens"].parse::<u64>().unwrap() > 0);
    assert!(seen["payi.cost.usd"].parse::<f64>().unwrap() > 0.0);

    let refused = spans.iter().find(|span| !span.parent_span_id.is_empty()).unwrap();
    assert_eq!(
        (&*refused.trace_id, &*refused.parent_span_id),
        (&[7; 16][..], &[9; 8][..]),
        "it hangs in the application's trace"
    );
    assert_eq!(refused.status.as_ref().unwrap().code, StatusCode::Error as i32);
    assert_eq!(attributes(&refused.attributes)["error.type"], "rate_limit_exceeded");

    let mut exports = collector.requests().into_iter().filter(|request| request.path == "/v1/metrics");
    let last = exports
        .next_back()
        .map(|request| ExportMetricsServiceRequest::decode(&*request.bytes).unwrap())
        .unwrap();
    let metrics = last.resource_metrics.into_iter().flat_map(|r| r.scope_metrics).flat_map(|s| s.metrics);
    let metrics: BTreeMap<String, Data> = metrics.map(|metric| (metric.name, metric.data.unwrap())).collect();
    let names: Vec<&str> = metrics.keys().map(String::as_str).collect();
    assert_eq!(names, ["gen_ai.client.operation.duration", "gen_ai.client.token.usage", "payi.client.cost"]);
    let Data::Histogram(durations) = &metrics["gen_ai.client.operation.duration"] else { unreachable!() };
    assert_eq!(durations.data_points.iter().map(|point| point.count).sum::<u64>(), 3);
    for points in durations.data_points.iter().map(|point| attributes(&point.attributes)) {
        assert!(!points.contains_key("user.id"), "users are no dimension of metrics");
    }
    println!(
        "evidence otlp: {} spans and {} metrics decoded by opentelemetry-proto; the span recorded while the collector \
         was down arrived, the other hangs in the application's trace",
        spans.iter().map(|span| &span.span_id).collect::<std::collections::BTreeSet<_>>().len(),
        metrics.len(),
    );
}
