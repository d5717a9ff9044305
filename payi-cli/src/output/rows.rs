//! What a row says to a program: one shape for the command line, the dashboard's exports and `--server`. Amounts are
//! decimal strings with every digit, times RFC 3339 in UTC.

use std::time::SystemTime;

use jiff::Timestamp;
use payi_core::{
    ledger::{
        CallSite,
        read::{Dimension, Driver, Drivers, Figures as Sums, Request, Tokens as Groups},
    },
    pricing::CostSource,
};
use serde::{Serialize, Serializer};

/// A report.
#[derive(Serialize)]
pub(crate) struct Report<'r> {
    as_of: Option<Timestamp>,
    rows: Vec<Row<'r>>,
    /// The sum of all rows, those not asked for among them.
    total: Figures,
    /// Rows that were not asked for.
    more_rows: usize,
    /// Only where keys are required, and calls were made without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unattributed: Vec<Site<'r>>,
}

impl<'r> Report<'r> {
    pub(crate) fn new(
        as_of: SystemTime,
        by: &'r [Dimension],
        report: &'r Drivers,
        sites: &'r [CallSite],
    ) -> Self {
        Self {
            as_of: timestamp(as_of),
            rows: all(report).map(|row| Row::new(by, row)).collect(),
            total: Figures::from(&report.total),
            more_rows: report.count.saturating_sub(report.rows.len()),
            unattributed: sites.iter().map(Site::from).collect(),
        }
    }
}

/// The rows of a report, the nameless one last.
pub(crate) fn all(report: &Drivers) -> impl Iterator<Item = &Driver> {
    report.rows.iter().chain(&report.nameless)
}

/// A row: its names by what they are names of, and its figures.
#[derive(Serialize)]
pub(crate) struct Row<'r> {
    #[serde(flatten)]
    names: Names<'r>,
    #[serde(flatten)]
    figures: Figures,
}

impl<'r> Row<'r> {
    pub(crate) fn new(by: &'r [Dimension], row: &'r Driver) -> Self {
        Self { names: Names { by, names: &row.names }, figures: Figures::from(&row.figures) }
    }
}

pub(crate) struct Names<'r> {
    pub(crate) by: &'r [Dimension],
    pub(crate) names: &'r [Option<String>],
}

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.by.iter().map(|d| d.name()).zip(self.names))
    }
}

#[derive(Serialize)]
#[allow(clippy::struct_field_names, reason = "the name of the JSON field")]
struct Site<'r> {
    call_site: Option<&'r str>,
    missing: &'r str,
    calls: u64,
    last_seen: Option<Timestamp>,
}

#[derive(Serialize)]
struct Figures {
    calls: Calls,
    attempts: u64,
    tokens: Tokens,
    cost_usd: String,
    cost_usd_by_source: BySource,
    unpriced_calls: u64,
    first_seen: Option<Timestamp>,
    last_seen: Option<Timestamp>,
}

#[derive(Serialize)]
struct Calls {
    ok: u64,
    failed: u64,
    aborted: u64,
    blocked: u64,
    abandoned: u64,
}

#[derive(Serialize)]
struct Tokens {
    input: u64,
    cache_read: u64,
    cache_write: u64,
    output: u64,
    reasoning: u64,
}

impl From<&Groups> for Tokens {
    fn from(tokens: &Groups) -> Self {
        Self {
            input: tokens.input,
            cache_read: tokens.cache_read,
            cache_write: tokens.cache_write,
            output: tokens.output,
            reasoning: tokens.reasoning,
        }
    }
}

#[derive(Serialize)]
struct BySource {
    reported: String,
    computed: String,
    estimated: String,
}

/// The time in UTC; `None` for one that no calendar has.
pub(crate) fn timestamp(at: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(at).ok()
}

impl From<&Sums> for Figures {
    fn from(sums: &Sums) -> Self {
        let (totals, calls) = (&sums.totals, &sums.totals.calls);
        let from = |source| sums.from_source(source).to_string();
        Self {
            calls: Calls {
                ok: calls.ok,
                failed: calls.failed,
                aborted: calls.aborted,
                blocked: calls.blocked,
                abandoned: calls.abandoned,
            },
            attempts: totals.attempts,
            tokens: Tokens::from(&totals.tokens),
            cost_usd: totals.cost.to_string(),
            cost_usd_by_source: BySource {
                reported: from(CostSource::Reported),
                computed: from(CostSource::Computed),
                estimated: from(CostSource::Estimated),
            },
            unpriced_calls: totals.unpriced_calls,
            first_seen: totals.first_seen.and_then(timestamp),
            last_seen: totals.last_seen.and_then(timestamp),
        }
    }
}

impl<'r> From<&'r CallSite> for Site<'r> {
    fn from(site: &'r CallSite) -> Self {
        Self {
            call_site: site.location.as_deref(),
            missing: &site.missing,
            calls: site.calls,
            last_seen: timestamp(site.last),
        }
    }
}

/// The columns of figures in CSV.
pub(crate) const FIGURES: [&str; 19] = [
    "cost_usd",
    "calls",
    "ok",
    "failed",
    "aborted",
    "blocked",
    "abandoned",
    "attempts",
    "unpriced_calls",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "reported_usd",
    "computed_usd",
    "estimated_usd",
    "first_seen",
    "last_seen",
];

/// A row's figures in the order of [`FIGURES`].
pub(crate) fn figures(row: &Sums) -> [String; 19] {
    let calls = row.totals.calls.total().to_string();
    let row = Figures::from(row);
    let at = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    [
        row.cost_usd,
        calls,
        row.calls.ok.to_string(),
        row.calls.failed.to_string(),
        row.calls.aborted.to_string(),
        row.calls.blocked.to_string(),
        row.calls.abandoned.to_string(),
        row.attempts.to_string(),
        row.unpriced_calls.to_string(),
        row.tokens.input.to_string(),
        row.tokens.cache_read.to_string(),
        row.tokens.cache_write.to_string(),
        row.tokens.output.to_string(),
        row.tokens.reasoning.to_string(),
        row.cost_usd_by_source.reported,
        row.cost_usd_by_source.computed,
        row.cost_usd_by_source.estimated,
        at(row.first_seen),
        at(row.last_seen),
    ]
}

/// An attempt.
#[derive(Serialize)]
pub(crate) struct Attempt<'r> {
    id: String,
    at: Option<Timestamp>,
    user_id: Option<&'r str>,
    account_name: Option<&'r str>,
    use_case_name: Option<&'r str>,
    provider: Option<&'r str>,
    model: Option<&'r str>,
    outcome: &'static str,
    http_status: Option<u16>,
    error: Option<&'r str>,
    tokens: Tokens,
    latency_ms: u64,
    cost_usd: Option<String>,
    cost_source: &'static str,
}

impl<'r> From<&'r Request> for Attempt<'r> {
    fn from(row: &'r Request) -> Self {
        Self {
            id: row.id.to_string(),
            at: timestamp(row.at),
            user_id: row.user_id.as_deref(),
            account_name: row.account_name.as_deref(),
            use_case_name: row.use_case_name.as_deref(),
            provider: row.provider.as_deref(),
            model: row.model.as_deref(),
            outcome: row.outcome.name(),
            http_status: row.http_status,
            error: row.error.as_deref(),
            tokens: Tokens::from(&row.tokens),
            latency_ms: u64::try_from(row.latency.as_millis()).unwrap_or(u64::MAX),
            cost_usd: row.cost.known().map(|cost| cost.to_string()),
            cost_source: row.cost.source.name(),
        }
    }
}

/// The columns of an attempt in CSV; the first [`ATTEMPT_NAMES`] hold texts from outside.
pub(crate) const ATTEMPT: [&str; 18] = [
    "id",
    "user_id",
    "account_name",
    "use_case_name",
    "provider",
    "model",
    "error",
    "at",
    "outcome",
    "http_status",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "latency_ms",
    "cost_usd",
    "cost_source",
];

/// How many columns of [`ATTEMPT`] hold texts from outside.
pub(crate) const ATTEMPT_NAMES: usize = 7;

/// An attempt's cells in the order of [`ATTEMPT`].
pub(crate) fn attempt(row: &Request) -> [String; 18] {
    let row = Attempt::from(row);
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    [
        row.id,
        text(row.user_id),
        text(row.account_name),
        text(row.use_case_name),
        text(row.provider),
        text(row.model),
        text(row.error),
        row.at.map(|at| at.to_string()).unwrap_or_default(),
        row.outcome.into(),
        row.http_status.map(|status| status.to_string()).unwrap_or_default(),
        row.tokens.input.to_string(),
        row.tokens.cache_read.to_string(),
        row.tokens.cache_write.to_string(),
        row.tokens.output.to_string(),
        row.tokens.reasoning.to_string(),
        row.latency_ms.to_string(),
        row.cost_usd.unwrap_or_default(),
        row.cost_source.into(),
    ]
}
