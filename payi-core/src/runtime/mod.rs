//! Starting payi: settings, the ledger, the sinks, and the guard that ends it all.
//!
//! ```text
//! instrument() -> Builder -> Options (builder > environment > file > default) -> Running -> Guard
//! ```
//!
//! One instrumentation per process. Everything a call needs is in the [`Pipeline`](crate::events::Pipeline)
//! that the process-wide root context carries; nothing below `runtime` looks anything up.

mod builder;
#[cfg(feature = "config")]
mod config;
mod engines;
mod guard;
mod metrics;
mod name;
mod options;
pub mod proxy;

pub use builder::{Builder, InForce};
pub use guard::{Guard, limits, metrics};
pub use metrics::{DeliveryMetrics, Metrics};

/// Starts payi, once per process: `let guard = payi::instrument().start()?;`
///
/// Nothing need be set. With nothing set, calls are recorded in `payi.db` in the working directory,
/// under a use case named after the executable, and go nowhere else.
///
/// | setting | on the builder | in the environment | in the file | default |
/// |---|---|---|---|---|
/// | a file of settings (feature `config`) | [`config`](Builder#method.config) | `PAYI_CONFIG` | | none |
/// | the ledger's file | [`ledger`](Builder::ledger), [`in_memory`](Builder::in_memory) | `PAYI_LEDGER` (`:memory:`) | `ledger` | `payi.db` |
/// | what a commit survives | [`durability`](Builder#method.durability) | | `durability`: `"synced"`, `"buffered"` | a power cut |
/// | how long prompts are kept | [`keep_prompts`](Builder::keep_prompts) | | `keep_prompts_days` | 30 days |
/// | Pay-i's key | [`api_key`](Builder::api_key) | `PAYI_API_KEY` | `api_key` | none: nothing is sent |
/// | Pay-i's address | [`base_url`](Builder::base_url) | `PAYI_BASE_URL` | `base_url` | `https://api.pay-i.com` |
/// | many events to a request | [`bulk`](Builder::bulk) | | `bulk` | yes, where Pay-i takes it |
/// | files of events | [`json_lines`](Builder::json_lines), [`offline`](Builder::offline) | | `json_lines`, `offline` | none |
/// | an OpenTelemetry collector (feature `otel`) | [`otlp`](Builder#method.otlp), [`semconv`](Builder#method.semconv) | `PAYI_OTLP` | `otlp` | none |
/// | users on the application's own spans | [`record_on_spans`](Builder::record_on_spans) | | `record_on_spans` | no |
/// | prices | [`prices`](Builder::prices) | `PAYI_PRICES` (a file) | `prices` (a file), `price` (tables) | the book of this version |
/// | keys that every call must have | [`require`](Builder::require) | | `require` | none |
/// | the usage of streams | [`stream_usage`](Builder::stream_usage), [`stream_usage_host`](Builder::stream_usage_host) | | `stream_usage`: `"auto"`, `"never"`; `stream_usage_hosts` | asked for, where a host is known to tell |
/// | pictures, sound and files inside of prompts | [`instrument_inline_data`](Builder::instrument_inline_data) | | `instrument_inline_data` | left out of what is kept |
/// | as what hosts and models are priced | [`host_mapping`](Builder::host_mapping), [`model_mapping`](Builder::model_mapping) | | `host_mappings`, `model_mapping` (tables) | as they are called |
/// | the global context, prompts and answers among it | a method for each [`Key`](crate::context::Key), as `use_case_name` | | `context`, a table | the executable's name as use case |
/// | limits | [`limit`](Builder::limit), [`on_limit`](Builder::on_limit) | | `limit` (tables) | those in the ledger |
/// | more takers of events | [`sink`](Builder::sink) | | | none |
/// | times and ids | [`clock`](Builder::clock) | | | the system's |
///
/// The builder wins over the environment, the environment over the file, and the file over the default. An empty
/// environment variable counts as not set; a file is read only if it is named, never looked for. What is misspelt is
/// refused, with what was probably meant.
///
/// Without this call the macros do nothing and clients pass calls through, so a library may use
/// both freely and leave the choice to its user.
pub fn instrument() -> Builder {
    Builder::default()
}
