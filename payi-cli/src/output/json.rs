//! Reports as JSON: one object, amounts as decimal strings, times as RFC 3339 in UTC.

use std::{
    io::{self, Write},
    time::SystemTime,
};

use jiff::Timestamp;
use payi_core::ledger::{
    CallSite, UsersReport,
    read::{Totals, UserRow},
};
use serde::Serialize;

#[derive(Serialize)]
struct Report<'a> {
    as_of: Option<Timestamp>,
    rows: Vec<Row<'a>>,
    total: Figures,
    /// Only where keys are required, and calls were made without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unattributed: Vec<Site<'a>>,
}

#[derive(Serialize)]
#[allow(clippy::struct_field_names, reason = "the name of the JSON field")]
struct Site<'a> {
    call_site: Option<&'a str>,
    missing: &'a str,
    calls: u64,
    last_seen: Option<Timestamp>,
}

#[derive(Serialize)]
struct Row<'a> {
    user_id: Option<&'a str>,
    account_name: Option<&'a str>,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Serialize)]
struct Figures {
    calls: Calls,
    tokens: Tokens,
    cost_usd: String,
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
    /// Only where a process died with calls open.
    #[serde(skip_serializing_if = "is_zero")]
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The time in UTC; `None` for one that no calendar has.
pub(crate) fn timestamp(at: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(at).ok()
}

impl From<&Totals> for Figures {
    fn from(totals: &Totals) -> Self {
        let (calls, tokens) = (&totals.calls, &totals.tokens);
        Self {
            calls: Calls {
                ok: calls.ok,
                failed: calls.failed,
                aborted: calls.aborted,
                blocked: calls.blocked,
                abandoned: calls.abandoned,
            },
            tokens: Tokens {
                input: tokens.input,
                cache_read: tokens.cache_read,
                cache_write: tokens.cache_write,
                output: tokens.output,
                reasoning: tokens.reasoning,
            },
            cost_usd: totals.cost.to_string(),
            unpriced_calls: totals.unpriced_calls,
            first_seen: totals.first_seen.and_then(timestamp),
            last_seen: totals.last_seen.and_then(timestamp),
        }
    }
}

impl<'a> From<&'a UserRow> for Row<'a> {
    fn from(row: &'a UserRow) -> Self {
        Self {
            user_id: row.user_id.as_deref(),
            account_name: row.account_name.as_deref(),
            figures: (&row.totals).into(),
        }
    }
}

impl<'a> From<&'a CallSite> for Site<'a> {
    fn from(site: &'a CallSite) -> Self {
        Self {
            call_site: site.location.as_deref(),
            missing: &site.missing,
            calls: site.calls,
            last_seen: timestamp(site.last),
        }
    }
}

pub(crate) fn users(report: &UsersReport, out: &mut dyn Write) -> io::Result<()> {
    let report = Report {
        as_of: timestamp(report.as_of),
        rows: report.rows.iter().map(Into::into).collect(),
        total: (&report.total).into(),
        unattributed: report.call_sites.iter().map(Into::into).collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)
}
