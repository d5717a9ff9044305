//! One event as rows: what goes into which column.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, Statement, params};
use uuid::Uuid;

use crate::{
    context::{Properties, Resolved, Text},
    events::Event,
    ledger::{append::Keep, ids},
    usage::{Bucket, Usage},
};

/// What a `flags` column holds.
pub(crate) mod flag {
    pub(crate) const STREAMED: i64 = 1;
    pub(crate) const ESTIMATED: i64 = 2;
    pub(crate) const SUSPECT: i64 = 4;
    pub(crate) const LOG: i64 = 8;
    pub(crate) const LOG_OFF: i64 = 16;
    pub(crate) const PROXY: i64 = 32;
    pub(crate) const PROXY_OFF: i64 = 64;
    pub(crate) const FREE: i64 = 128;
}

/// Models, and the counts of each by the names of its buckets.
pub(crate) type ByModel = Vec<(Box<str>, BTreeMap<Box<str>, u64>)>;

/// The largest count of one bucket that one fact holds.
const MOST: i64 = 1 << 42;

/// The dictionary ids of who and what for.
pub(crate) struct Who {
    pub(crate) user: i64,
    pub(crate) account: i64,
    pub(crate) purpose: i64,
    pub(crate) route: i64,
}

pub(crate) fn insert_fact(
    statement: &mut Statement<'_>,
    event: &Event,
    (seq, id, corrects): (i64, Uuid, Option<i64>),
    error: i64,
    who: &Who,
    flags: i64,
) -> rusqlite::Result<()> {
    let (hi, lo) = ids::halves(id);
    let fixed = [
        Some(seq),
        Some(hi),
        Some(lo),
        Some(micros(event.started_at)),
        Some(duration_us(event.latency)),
        event.time_to_first_token.map(duration_us),
        Some(i64::from(event.attempt)),
        Some(event.outcome as i64),
        event.http_status.map(i64::from),
        Some(error),
        Some(who.user),
        Some(who.account),
        Some(who.purpose),
        Some(who.route),
        Some(flags),
        Some(event.cost.amount.to_fact().unwrap_or(i64::MAX)),
        Some(event.cost.source as i64),
        event.reported_cost.map(|m| m.to_fact().unwrap_or(i64::MAX)),
        corrects,
    ];
    // Far above any real count, and low enough that no sum of rows overflows.
    let buckets = Bucket::ALL.map(|b| Some(count(event.usage.get(b))));
    for (i, value) in fixed.iter().chain(&buckets).enumerate() {
        statement.raw_bind_parameter(i + 1, value)?;
    }
    statement.raw_execute().map(drop)
}

pub(crate) fn insert_details(
    statement: &mut Statement<'_>,
    seq: i64,
    event: &Event,
    who: &Resolved,
) -> rusqlite::Result<()> {
    let case = who.use_case.as_ref();
    let case_id = case.and_then(|c| c.id.as_deref());
    let properties = json(&who.request_properties);
    let case_properties = case.and_then(|c| json(&c.properties));
    if event.response_id.is_none() && case_id.is_none() && properties.is_none() && case_properties.is_none() {
        return Ok(());
    }
    statement
        .execute(params![seq, event.response_id.as_deref(), case_id, properties, case_properties])
        .map(drop)
}

/// What few events have.
pub(crate) fn insert_extras(conn: &Connection, seq: i64, event: &Event) -> rusqlite::Result<()> {
    let guardrail = event.exchange.as_deref().and_then(|exchange| exchange.guardrail.as_ref());
    if event.elsewhere.is_empty() && guardrail.is_none() {
        return Ok(());
    }
    let elsewhere = (!event.elsewhere.is_empty()).then(|| text(&by_model(&event.elsewhere)));
    conn.execute(
        "INSERT INTO extras(seq, elsewhere, guardrail) VALUES(?1, ?2, ?3)",
        params![seq, elsewhere, guardrail.map(text)],
    )
    .map(drop)
}

/// What each of some models did, by the names of its buckets.
pub(crate) fn by_model(elsewhere: &[(Box<str>, Usage)]) -> ByModel {
    let counts = |usage: &Usage| usage.iter().map(|(bucket, n)| (bucket.name().into(), n)).collect();
    elsewhere.iter().map(|(model, usage)| (model.clone(), counts(usage))).collect()
}

/// The same read back; counts of buckets that nobody knows are left out.
pub(crate) fn from_models(models: ByModel) -> Vec<(Box<str>, Usage)> {
    let usage = |counts: BTreeMap<Box<str>, u64>| {
        let mut usage = Usage::new();
        for bucket in Bucket::ALL {
            usage.set(bucket, counts.get(bucket.name()).copied().unwrap_or(0));
        }
        usage
    };
    models.into_iter().map(|(model, counts)| (model, usage(counts))).collect()
}

pub(crate) fn insert_exchange(
    conn: &Connection,
    seq: i64,
    event: &Event,
    keep: Keep,
) -> rusqlite::Result<()> {
    let Some(exchange) = event.exchange.as_deref() else { return Ok(()) };
    if keep.exchanges && !(exchange.response_headers.is_empty() && exchange.function_calls.is_empty()) {
        let calls: Vec<_> = exchange.function_calls.iter().map(|c| (&c.name, &c.arguments)).collect();
        conn.execute(
            "INSERT INTO exchanges(seq, headers, function_calls) VALUES(?1, ?2, ?3)",
            params![seq, text(&exchange.response_headers), text(&calls)],
        )?;
    }
    if keep.prompts && (exchange.request_json.is_some() || !exchange.response_json.is_empty()) {
        conn.execute(
            "INSERT INTO prompts(seq, at_us, request, response) VALUES(?1, ?2, ?3, ?4)",
            params![
                seq,
                micros(event.started_at),
                exchange.request_json.as_deref(),
                text(&exchange.response_json)
            ],
        )?;
    }
    Ok(())
}

/// The count of one bucket as a fact holds it.
pub(crate) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(MOST).min(MOST)
}

/// The flags of an event whose context is not at hand.
pub(crate) fn estimated(event: &Event) -> i64 {
    if event.usage_estimated { flag::ESTIMATED } else { 0 }
}

pub(crate) fn flags(event: &Event, who: &Resolved) -> i64 {
    let when = |on: bool, flag: i64| if on { flag } else { 0 };
    when(event.streamed, flag::STREAMED)
        | when(event.usage_estimated, flag::ESTIMATED)
        | when(event.usage_suspect, flag::SUSPECT)
        | when(event.free, flag::FREE)
        | when(who.log_prompt_and_response == Some(true), flag::LOG)
        | when(who.log_prompt_and_response == Some(false), flag::LOG_OFF)
        | when(who.proxy == Some(true), flag::PROXY)
        | when(who.proxy == Some(false), flag::PROXY_OFF)
}

pub(crate) fn labels(labels: &[Text]) -> Option<String> {
    (!labels.is_empty()).then(|| text(&labels)).flatten()
}

fn json(properties: &Properties) -> Option<String> {
    (!properties.is_empty()).then(|| text(properties)).flatten()
}

fn text<T: serde::Serialize + ?Sized>(value: &T) -> Option<String> {
    serde_json::to_string(value).ok()
}

/// Microseconds since 1970; times before it, or absurdly far after it, stop at the edge.
pub(crate) fn micros(at: SystemTime) -> i64 {
    crate::limits::micros(at)
}

/// The time of a number of microseconds since 1970.
pub(crate) fn time(us: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(us.max(0).cast_unsigned())
}

fn duration_us(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
