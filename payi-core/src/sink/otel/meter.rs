//! Metrics: how long, how many tokens, how much.

use opentelemetry::metrics::{Counter, Histogram, MeterProvider as _};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
};

use crate::sink::{
    deliver::Pending,
    otel::{
        Semconv,
        bridge::Bridge,
        conventions::{self, TOKEN_TYPE, USE_CASE},
        pair,
    },
};

/// The conventions' buckets for seconds.
const SECONDS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

/// The conventions' buckets for tokens.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// The instruments. Users are no dimension of metrics: there may be any number of them.
pub(crate) struct Meter {
    provider: SdkMeterProvider,
    duration: Histogram<f64>,
    tokens: Histogram<u64>,
    cost: Counter<f64>,
}

impl Meter {
    pub(crate) fn new(
        base_url: &str,
        bridge: &Bridge,
        resource: Resource,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let exporter = opentelemetry_otlp::MetricExporter::builder()
            .with_http()
            .with_http_client(bridge.client())
            .with_endpoint(format!("{base_url}/v1/metrics"))
            .build()?;
        let reader = PeriodicReader::builder(exporter).build();
        let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
        let meter = provider.meter("payi");
        let duration = meter
            .f64_histogram("gen_ai.client.operation.duration")
            .with_unit("s")
            .with_description("GenAI operation duration")
            .with_boundaries(SECONDS.into())
            .build();
        let tokens = meter
            .u64_histogram("gen_ai.client.token.usage")
            .with_unit("{token}")
            .with_description("Number of input and output tokens used")
            .with_boundaries(TOKENS.into())
            .build();
        let cost = meter
            .f64_counter("payi.client.cost")
            .with_unit("USD")
            .with_description("What calls cost, rounded to a double; the ledger has every digit")
            .build();
        Ok(Self { provider, duration, tokens, cost })
    }

    pub(crate) fn record(&self, pending: &Pending, semconv: Semconv) {
        let event = &pending.event;
        let mut attributes = conventions::common(event, semconv);
        self.duration.record(event.latency.as_secs_f64(), &attributes);
        for (kind, count) in [("input", event.usage.input_tokens()), ("output", event.usage.output_tokens())]
        {
            if count > 0 {
                attributes.push(pair(TOKEN_TYPE, kind));
                self.tokens.record(count, &attributes);
                attributes.pop();
            }
        }
        if let Some(cost) = event.cost.known() {
            let use_case = pending.who.use_case.as_ref();
            attributes.extend(use_case.map(|u| pair(USE_CASE, u.name.to_string())));
            attributes.push(pair("payi.cost.source", event.cost.source.name()));
            self.cost.add(cost.to_string().parse().unwrap_or(0.0), &attributes);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        // What has been counted since the last export; the provider bounds its own wait.
        let _ = self.provider.shutdown();
    }
}
