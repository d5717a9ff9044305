//! Rows back into events, with every text that delivery or an export needs.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    context::{Context, Properties, Resolved, Text, UseCase},
    events::{Event, Exchange, Outcome},
    ledger::{
        ids,
        rows::{flag, from_models, time},
    },
    money::Money,
    pricing::{Cost, CostSource},
    usage::{Bucket, FunctionCall, Usage},
};

/// An event as the ledger has it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredEvent {
    /// Its place in the order of commits, from 1.
    pub seq: i64,
    /// Who it was for.
    pub who: Resolved,
    /// What happened. Its `context` is empty: `who` says what it said.
    pub event: Event,
    /// The number of the fact that this one corrects.
    pub corrects: Option<i64>,
}

const COLUMNS: &str =
    "f.seq, f.id_hi, f.id_lo, f.at_us, f.latency_us, f.ttft_us, f.attempt, f.outcome, f.http, f.error,
  f.user, f.account, f.flags, f.cost, f.cost_source, f.reported, f.corrects,
  p.use_case, p.version, p.step, p.limits, p.tags,
  r.provider, r.operation, r.category, r.request_model, r.response_model, r.tier, r.geo,
  r.price_category, r.price_resource, r.scope, r.module, r.uri,
  d.response_id, d.use_case_id, d.properties, d.use_case_properties,
  x.headers, x.function_calls, q.request, q.response,
  w.elsewhere, w.guardrail";

const TABLES: &str = "facts f JOIN purposes p ON p.id = f.purpose JOIN routes r ON r.id = f.route
  LEFT JOIN details d ON d.seq = f.seq LEFT JOIN exchanges x ON x.seq = f.seq LEFT JOIN prompts q ON q.seq = f.seq
  LEFT JOIN extras w ON w.seq = f.seq";

/// The events after `after`, oldest first.
pub(crate) fn after(conn: &Connection, after: i64, limit: usize) -> rusqlite::Result<Vec<StoredEvent>> {
    let buckets = Bucket::ALL.map(|b| format!("f.{}", b.name())).join(", ");
    let sql = format!("SELECT {COLUMNS}, {buckets} FROM {TABLES} WHERE f.seq > ?1 ORDER BY f.seq LIMIT ?2");
    let mut texts = Texts { conn, met: HashMap::new() };
    let mut statement = conn.prepare(&sql)?;
    let mut rows = statement.query(params![after, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(read(row, &mut texts)?);
    }
    drop(rows);
    for stored in &mut events {
        stored.event.call_id = call_id(conn, stored)?;
    }
    Ok(events)
}

/// Dictionary entries met so far.
struct Texts<'c> {
    conn: &'c Connection,
    met: HashMap<i64, Option<Text>>,
}

impl Texts<'_> {
    fn get(&mut self, id: i64) -> rusqlite::Result<Option<Text>> {
        if id == 0 {
            return Ok(None);
        }
        if let Some(text) = self.met.get(&id) {
            return Ok(text.clone());
        }
        let text: Option<String> = self
            .conn
            .query_row("SELECT text FROM dict WHERE id = ?1", [id], |row| row.get(0))
            .optional()?
            .flatten();
        let text = text.map(Text::from);
        self.met.insert(id, text.clone());
        Ok(text)
    }

    fn boxed(&mut self, id: i64) -> rusqlite::Result<Option<Box<str>>> {
        Ok(self.get(id)?.map(|text| text.as_str().into()))
    }

    fn required(&mut self, id: i64) -> rusqlite::Result<Cow<'static, str>> {
        Ok(self.get(id)?.map(|text| text.as_str().to_owned()).unwrap_or_default().into())
    }

    fn labels(&mut self, id: i64) -> rusqlite::Result<Vec<Text>> {
        Ok(parse(self.get(id)?.as_deref()))
    }
}

fn read(row: &Row<'_>, texts: &mut Texts<'_>) -> rusqlite::Result<StoredEvent> {
    let int = |name: &str| row.get::<_, i64>(name);
    let flags = int("flags")?;
    let id = ids::join(int("id_hi")?, int("id_lo")?);
    let event = Event {
        id,
        call_id: id,
        attempt: row.get("attempt")?,
        context: Context::default(),
        provider: texts.required(int("provider")?)?,
        operation: texts.required(int("operation")?)?,
        category: texts.required(int("category")?)?,
        request_model: texts.get(int("request_model")?)?,
        response_model: texts.boxed(int("response_model")?)?,
        streamed: flags & flag::STREAMED != 0,
        started_at: time(int("at_us")?),
        latency: duration(int("latency_us")?),
        time_to_first_token: row.get::<_, Option<i64>>("ttft_us")?.map(duration),
        outcome: outcome(int("outcome")?),
        http_status: row.get("http")?,
        error: texts.boxed(int("error")?)?,
        usage: usage(row)?,
        elsewhere: from_models(parse(boxed(row, "elsewhere")?.as_deref())),
        usage_estimated: flags & flag::ESTIMATED != 0,
        usage_suspect: flags & flag::SUSPECT != 0,
        free: flags & flag::FREE != 0,
        cost: Cost { amount: Money::from_pico(int("cost")?.into()), source: source(int("cost_source")?) },
        reported_cost: row.get::<_, Option<i64>>("reported")?.map(|pico| Money::from_pico(pico.into())),
        response_id: boxed(row, "response_id")?,
        service_tier: texts.boxed(int("tier")?)?,
        geo: texts.boxed(int("geo")?)?,
        limits: Vec::new(),
        exchange: exchange(row, texts)?,
    };
    Ok(StoredEvent { seq: int("seq")?, who: who(row, texts, flags)?, event, corrects: row.get("corrects")? })
}

fn who(row: &Row<'_>, texts: &mut Texts<'_>, flags: i64) -> rusqlite::Result<Resolved> {
    let int = |name: &str| row.get::<_, i64>(name);
    let properties = |name: &str| -> rusqlite::Result<Properties> { Ok(parse(boxed(row, name)?.as_deref())) };
    let use_case = match texts.get(int("use_case")?)? {
        Some(name) => Some(UseCase {
            name,
            id: boxed(row, "use_case_id")?.map(|id| Text::new(&id)),
            version: u32::try_from(int("version")?).ok(),
            step: texts.get(int("step")?)?,
            properties: properties("use_case_properties")?,
        }),
        None => None,
    };
    let switch = |on: i64, off: i64| (flags & (on | off) != 0).then_some(flags & on != 0);
    Ok(Resolved {
        user_id: texts.get(int("user")?)?,
        account_name: texts.get(int("account")?)?,
        use_case,
        limit_ids: texts.labels(int("limits")?)?,
        request_tags: texts.labels(int("tags")?)?,
        request_properties: properties("properties")?,
        price_as_category: texts.get(int("price_category")?)?,
        price_as_resource: texts.get(int("price_resource")?)?,
        resource_scope: texts.get(int("scope")?)?,
        proxy: switch(flag::PROXY, flag::PROXY_OFF),
        log_prompt_and_response: switch(flag::LOG, flag::LOG_OFF),
    })
}

fn exchange(row: &Row<'_>, texts: &mut Texts<'_>) -> rusqlite::Result<Option<Box<Exchange>>> {
    let calls: Vec<(Box<str>, Option<Box<str>>)> = parse(boxed(row, "function_calls")?.as_deref());
    let exchange = Exchange {
        provider_uri: texts.boxed(row.get("uri")?)?,
        instrumented_module: texts.boxed(row.get("module")?)?,
        response_headers: parse(boxed(row, "headers")?.as_deref()),
        function_calls: calls.into_iter().map(|(name, arguments)| FunctionCall { name, arguments }).collect(),
        guardrail: parse(boxed(row, "guardrail")?.as_deref()),
        request_json: boxed(row, "request")?,
        response_json: parse(boxed(row, "response")?.as_deref()),
    };
    Ok((exchange != Exchange::default()).then(|| Box::new(exchange)))
}

/// The call an attempt belongs to: its own id, unless the call had more attempts than this one.
fn call_id(conn: &Connection, stored: &StoredEvent) -> rusqlite::Result<uuid::Uuid> {
    let found = conn
        .query_row("SELECT call_hi, call_lo FROM attempts WHERE seq = ?1", [stored.seq], |row| {
            Ok(ids::join(row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let alone = if stored.corrects.is_some() { ids::corrected(stored.event.id) } else { stored.event.id };
    Ok(found.unwrap_or(alone))
}

fn usage(row: &Row<'_>) -> rusqlite::Result<Usage> {
    let mut usage = Usage::new();
    for bucket in Bucket::ALL {
        usage.set(bucket, row.get::<_, i64>(bucket.name())?.max(0).cast_unsigned());
    }
    Ok(usage)
}

fn boxed(row: &Row<'_>, name: &str) -> rusqlite::Result<Option<Box<str>>> {
    Ok(row.get::<_, Option<String>>(name)?.map(String::into_boxed_str))
}

/// What cannot be read counts as empty: a report or a delivery must not stop at one bad row.
fn parse<T: serde::de::DeserializeOwned + Default>(json: Option<&str>) -> T {
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

fn duration(us: i64) -> Duration {
    Duration::from_micros(us.max(0).cast_unsigned())
}

/// The outcome of a code; codes of a newer schema read as failed.
pub(crate) fn outcome(code: i64) -> Outcome {
    usize::try_from(code).ok().and_then(|i| Outcome::ALL.get(i).copied()).unwrap_or(Outcome::Failed)
}

pub(crate) fn source(code: i64) -> CostSource {
    usize::try_from(code).ok().and_then(|i| CostSource::ALL.get(i).copied()).unwrap_or(CostSource::Unpriced)
}
