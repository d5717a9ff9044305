//! Starting payi: settings, the ledger, the sinks, and the guard that ends it all.
//!
//! ```text
//! instrument() -> Builder -> Options (builder > environment > default) -> Running -> Guard
//! ```
//!
//! One instrumentation per process. Everything a call needs is in the [`Pipeline`](crate::events::Pipeline)
//! that the process-wide root context carries; nothing below `runtime` looks anything up.

mod builder;
mod engines;
mod guard;
mod metrics;
mod name;
mod options;
pub mod proxy;

pub use builder::Builder;
pub use guard::{Guard, metrics};
pub use metrics::{DeliveryMetrics, Metrics};

/// Starts payi, once per process: `let guard = payi::instrument().start()?;`
///
/// Nothing need be set. With nothing set, calls are recorded in `payi.db` in the working directory,
/// under a use case named after the executable, and go nowhere else.
///
/// | setting | on the builder | in the environment | default |
/// |---|---|---|---|
/// | the ledger's file | [`ledger`](Builder::ledger), [`in_memory`](Builder::in_memory) | `PAYI_LEDGER` (`:memory:`) | `payi.db` |
/// | Pay-i's key | [`api_key`](Builder::api_key) | `PAYI_API_KEY` | none: nothing is sent |
/// | Pay-i's address | [`base_url`](Builder::base_url) | `PAYI_BASE_URL` | `https://api.pay-i.com` |
/// | an OpenTelemetry collector (feature `otel`) | [`otlp`](Builder::otlp), [`semconv`](Builder::semconv) | `PAYI_OTLP` | none |
/// | users on the application's own spans | [`record_on_spans`](Builder::record_on_spans) | | no |
/// | files of events | [`json_lines`](Builder::json_lines), [`offline`](Builder::offline) | | none |
/// | prompts and answers | [`log_prompt_and_response`](Builder::log_prompt_and_response) | | not kept |
/// | many events to a request | [`bulk`](Builder::bulk) | | yes, where Pay-i takes it |
/// | prices | [`prices`](Builder::prices) | `PAYI_PRICES` (a file) | the book of this version |
/// | keys that every call must have | [`require`](Builder::require) | | none |
/// | the usage of streams | [`stream_usage`](Builder::stream_usage), [`stream_usage_host`](Builder::stream_usage_host) | | asked for, where a host is known to tell |
/// | as what hosts and models are priced | [`host_mapping`](Builder::host_mapping), [`model_mapping`](Builder::model_mapping) | | as they are called |
/// | the global context | a method for each [`Key`](crate::context::Key), as `use_case_name` | | the executable's name as use case |
/// | more takers of events | [`sink`](Builder::sink) | | none |
/// | times and ids | [`clock`](Builder::clock) | | the system's |
///
/// The builder wins over the environment, and the environment over the default. An empty
/// environment variable counts as not set.
///
/// Without this call the macros do nothing and clients pass calls through, so a library may use
/// both freely and leave the choice to its user.
pub fn instrument() -> Builder {
    Builder::default()
}
