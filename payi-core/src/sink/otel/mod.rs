//! OpenTelemetry as a place to deliver to: a `gen_ai` span per attempt, and metrics beside it, by OTLP.
//!
//! Spans come from the ledger like everything that is delivered, so a collector that is down misses none.
//! The one thing that the ledger does not know, the application's own span around a call, is remembered
//! in memory between the call and the delivery ([`Parents`]).

mod bridge;
mod conventions;
mod meter;
mod parents;

use std::time::Duration;

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};

pub use conventions::Semconv;
pub(crate) use parents::Parents;

use crate::{
    Error, Result,
    error::Kind,
    events::{Event, Outcome},
    sink::{
        deliver::{Fate, Next, Pending, Place, Report, Source},
        otel::{
            bridge::{Bridge, Client},
            meter::Meter,
        },
    },
};

/// The name of the cursor.
pub(crate) const NAME: &str = "otlp";

/// How long one export may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A collector.
pub(crate) struct Otlp {
    exporter: opentelemetry_otlp::SpanExporter,
    client: Client,
    // Before the bridge: its last export goes over it.
    meter: Meter,
    bridge: Bridge,
    parents: Parents,
    semconv: Semconv,
    scope: InstrumentationScope,
}

impl Otlp {
    /// `base_url` is the collector's, without `/v1/traces`.
    pub(crate) fn new(
        base_url: &str,
        service: Option<String>,
        semconv: Semconv,
        parents: Parents,
    ) -> Result<Self> {
        let unusable = |e: Box<dyn std::error::Error + Send + Sync>| {
            Error::with_source(Kind::Config, "no exporter could be made for the OpenTelemetry collector", e)
        };
        let bridge = Bridge::start(PATIENCE)?;
        let client = bridge.client();
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client.clone())
            .with_endpoint(format!("{base_url}/v1/traces"))
            .with_timeout(PATIENCE)
            .build()
            .map_err(|e| unusable(e.into()))?;
        // `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win over what we would guess.
        let mut resource = Resource::builder();
        if let (Some(service), Err(_)) = (service, std::env::var("OTEL_SERVICE_NAME")) {
            resource = resource.with_service_name(service);
        }
        let resource = resource.build();
        exporter.set_resource(&resource);
        let meter = Meter::new(base_url, &bridge, resource).map_err(unusable)?;
        let scope = InstrumentationScope::builder("payi").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Self { exporter, client, meter, bridge, parents, semconv, scope })
    }

    fn span(&self, pending: &Pending) -> SpanData {
        let event = &pending.event;
        let parent = self.parents.of(event.id);
        // Without a span of the application's, the attempts of one call are one trace.
        let own = TraceId::from_bytes(*event.call_id.as_bytes());
        let (trace_id, parent_span_id) = parent.unwrap_or((own, SpanId::INVALID));
        let span_id = SpanId::from_bytes(event.id.as_u64_pair().1.to_be_bytes());
        let model = event.request_model.as_deref().or(event.response_model.as_deref()).unwrap_or_default();
        SpanData {
            span_context: SpanContext::new(
                trace_id,
                span_id,
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id,
            parent_span_is_remote: false,
            span_kind: SpanKind::Client,
            name: format!("{} {model}", conventions::operation(event)).trim_end().to_owned().into(),
            start_time: event.started_at,
            end_time: event.started_at + event.latency,
            attributes: conventions::attributes(pending, self.semconv),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: status(event),
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn status(event: &Event) -> Status {
    match event.outcome {
        Outcome::Failed | Outcome::Abandoned => {
            Status::error(event.error.as_deref().unwrap_or(event.outcome.name()).to_owned())
        }
        Outcome::Ok | Outcome::Aborted | Outcome::Blocked => Status::Unset,
    }
}

impl Place for Otlp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn deliver(&mut self, batch: &[&Pending], _source: &dyn Source) -> Report {
        // What never left the process is no client span.
        let sent: Vec<&&Pending> = batch.iter().filter(|p| p.event.outcome != Outcome::Blocked).collect();
        let spans = sent.iter().map(|pending| self.span(pending)).collect();
        match self.bridge.block_on(self.exporter.export(spans)) {
            Ok(()) => {
                for pending in sent {
                    self.parents.forget(pending.event.id);
                    self.meter.record(pending, self.semconv);
                }
                Report::all(batch.len(), &Fate::Placed, Next::Go)
            }
            Err(error) => {
                crate::error::say!(debug, target: "payi", %error, "the OpenTelemetry collector took nothing");
                refused(self.client.status(), batch.len())
            }
        }
    }
}

/// What an answer without success means for a batch of `n`.
fn refused(status: u16, n: usize) -> Report {
    match status {
        401 | 403 => Report::all(n, &Fate::Later, Next::Pause("forbidden")),
        404 | 405 => Report::all(n, &Fate::Later, Next::Pause("wrong_address")),
        408 | 425 | 429 => Report::all(n, &Fate::Later, Next::Wait(None)),
        // Too large, or one of them is bad: halve, until it is found.
        400..500 if n > 1 => Report::all(n, &Fate::Later, Next::Smaller),
        400..500 => Report::all(n, &Fate::Refused(format!("http_{status}").into()), Next::Go),
        _ => Report::all(n, &Fate::Later, Next::Wait(None)),
    }
}

/// A key and a value.
fn pair(key: &'static str, value: impl Into<opentelemetry::Value>) -> KeyValue {
    KeyValue::new(key, value)
}

#[cfg(all(test, feature = "testing"))]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
