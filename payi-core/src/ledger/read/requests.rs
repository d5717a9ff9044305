//! Attempts one by one: lists of them, and one in full.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, OptionalExtension as _, Row, Statement, params_from_iter, types::Value};
use uuid::Uuid;

use crate::{
    context::{Text, UseCase},
    events::Outcome,
    ledger::{
        StoredEvent,
        claim::find_seq,
        fold::{Cube, QUARTER_US, unpack::Columns},
        ids,
        read::{
            largest::largest,
            query::{Dimension, Pick, Plan, Query, part},
            scan::{Reader, Scope},
            sums::Tokens,
        },
        rows::time,
        stored::{self, outcome, source},
    },
    money::Money,
    pricing::{Cost, CostSource},
};

/// A page of attempts.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Requests {
    /// The attempts, in order.
    pub rows: Vec<Request>,
    /// Whether there are more after these.
    pub more: bool,
}

/// An attempt in a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// Its place in the order of commits.
    pub seq: i64,
    /// Its event id.
    pub id: Uuid,
    /// When it began.
    pub at: SystemTime,
    /// How long it took.
    pub latency: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// The provider's HTTP status.
    pub http_status: Option<u16>,
    /// What failed.
    pub error: Option<String>,
    /// Who it was for.
    pub user_id: Option<String>,
    /// The user's account.
    pub account_name: Option<String>,
    /// What it was for.
    pub use_case_name: Option<String>,
    /// The provider.
    pub provider: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Its tokens, in the groups of every other report.
    pub tokens: Tokens,
    /// What it cost.
    pub cost: Cost,
}

/// The order of a list of attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestOrder {
    /// Newest first.
    #[default]
    Time,
    /// Most expensive first.
    Cost,
    /// Slowest first.
    Latency,
    /// Most tokens first.
    Tokens,
}

/// The groups of [`Tokens`], in its order.
const GROUPS: [&str; 5] = [
    "f.input + f.audio_input + f.image_input + f.video_input",
    "f.cache_read + f.audio_cache_read + f.image_cache_read",
    "f.cache_write + f.cache_write_1h",
    "f.output + f.audio_output + f.image_output",
    "f.reasoning",
];

/// The sum of all.
pub(super) fn tokens() -> String {
    format!("({})", GROUPS.join(" + "))
}

/// How far a list of attempts reaches: whoever wants to see more asks for a narrower range.
const REACH: usize = 1_000_000;

/// Attempts that match `query`, `query.offset` left out, at most `query.limit` (100 if not given), and none behind the
/// first [`REACH`]. Of those left out a number and a time are kept, or an amount, and no more.
///
/// The rollup says in which quarters of an hour there are any; only the facts that came in about then are read. In the
/// order of time that is done from one end until there are enough; in the others, see [`largest`].
pub(super) fn requests(
    reader: &Reader<'_>,
    query: &Query,
    order: RequestOrder,
) -> rusqlite::Result<Requests> {
    let limit = query.limit.unwrap_or(100).min(10_000);
    if query.offset >= REACH {
        return Ok(Requests::default());
    }
    let wanted = query.offset.saturating_add(limit).saturating_add(1).min(REACH);
    let windows = windows(reader, query, order, wanted)?;
    let seqs = match largest(reader, query, order, windows.first().map_or(&[], Vec::as_slice), wanted)? {
        Some(seqs) => seqs,
        None => in_time(reader, query, windows, wanted)?,
    };
    let page = seqs.get(query.offset..).unwrap_or_default();
    Ok(Requests { rows: full(reader, &page[..page.len().min(limit)])?, more: page.len() > limit })
}

/// The numbers of the first `wanted` attempts in the order of time.
fn in_time(
    reader: &Reader<'_>,
    query: &Query,
    windows: Vec<Vec<Span>>,
    wanted: usize,
) -> rusqlite::Result<Vec<i64>> {
    let mut listing = Listing::prepare(reader.conn, query, wanted)?;
    let mut seqs = Vec::new();
    for spans in windows {
        let mut found = Vec::new();
        for span in spans {
            for range in reader.ranges(span)? {
                listing.read(span, range, &mut found)?;
            }
        }
        found.sort_unstable();
        if !query.reverse {
            found.reverse();
        }
        seqs.extend(found.into_iter().map(|(_, seq)| seq));
        if seqs.len() >= wanted {
            break;
        }
    }
    seqs.truncate(wanted);
    Ok(seqs)
}

/// The attempts of these numbers, in their order.
fn full(reader: &Reader<'_>, seqs: &[i64]) -> rusqlite::Result<Vec<Request>> {
    let mut statement = reader.conn.prepare(&format!("{} WHERE f.seq = ?1", select()))?;
    seqs.iter().map(|seq| statement.query_row([seq], request_of)).collect()
}

/// Times, from one to before another.
pub(super) type Span = (i64, i64);

/// What a search finds: users by a part of their id, and when the attempts with just this response id began.
struct Found {
    users: Vec<i64>,
    answers: Vec<i64>,
}

impl Found {
    /// `None` if nothing narrows the time: no search, or so many users that any time is likely to have some of theirs.
    fn by(conn: &Connection, search: &str) -> rusqlite::Result<Option<Self>> {
        const FEW: usize = 1_000;
        if search.is_empty() {
            return Ok(None);
        }
        let mut users: Vec<i64> = Dimension::User.containing(conn, search)?.into_iter().collect();
        if users.len() > FEW {
            return Ok(None);
        }
        users.sort_unstable();
        // Of calls made here, response ids have no index, which would cost every event a page: all are looked at, once.
        let answers = conn
            .prepare("SELECT f.at_us FROM details d JOIN facts f ON f.seq = d.seq WHERE d.response_id = ?1")?
            .query_map([search], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Some(Self { users, answers }))
    }
}

/// The quarters of an hour in which attempts that match may have begun, and about how many did.
fn quarters(reader: &Reader<'_>, query: &Query, plan: &Plan) -> rusqlite::Result<BTreeMap<i64, i64>> {
    let mut quarters: BTreeMap<i64, i64> = BTreeMap::new();
    let columns = Columns { calls: true, ..Columns::COST };
    let mut scope = Scope { columns, ..plan.scope(plan.cube(&[], false).finer()) };
    let found = Found::by(reader.conn, &query.search)?;
    if let Some(found) = &found {
        (scope.cube, scope.users) = (Cube::Full, Some(found.users.clone()));
    }
    reader.scan(&scope, |entry| {
        if found.as_ref().is_none_or(|found| found.users.binary_search(&entry.user).is_ok()) {
            *quarters.entry(entry.at_us.div_euclid(QUARTER_US)).or_default() += entry.cell.attempts.max(1);
        }
    })?;
    let answers = found.into_iter().flat_map(|found| found.answers);
    for at_us in answers.filter(|at_us| (plan.since_us..plan.until_us).contains(at_us)) {
        *quarters.entry(at_us.div_euclid(QUARTER_US)).or_default() += 1;
    }
    Ok(quarters)
}

/// The times in which attempts that match may have begun, in the order in which they are to be read: lists of spans,
/// each list with about as many attempts as are wanted.
fn windows(
    reader: &Reader<'_>,
    query: &Query,
    order: RequestOrder,
    wanted: usize,
) -> rusqlite::Result<Vec<Vec<Span>>> {
    let narrowed = Query { by: Vec::new(), search: String::new(), compare: false, ..query.clone() };
    let Some(plan) = Plan::of(reader.conn, &narrowed)? else { return Ok(Vec::new()) };
    let mut quarters: Vec<(i64, i64)> = quarters(reader, query, &plan)?.into_iter().collect();
    if !query.reverse {
        quarters.reverse();
    }
    let (mut lists, mut counted) = (vec![Vec::<Span>::new()], 0_usize);
    for (quarter, attempts) in quarters {
        if order == RequestOrder::Time && counted >= wanted {
            lists.push(Vec::new());
            counted = 0;
        }
        counted = counted.saturating_add(usize::try_from(attempts).unwrap_or(usize::MAX));
        let begins = quarter * QUARTER_US;
        let span = (begins.max(plan.since_us), (begins + QUARTER_US).min(plan.until_us));
        let Some(spans) = lists.last_mut() else { continue };
        match spans.last_mut() {
            Some(last) if last.1 == span.0 => last.1 = span.1,
            Some(last) if last.0 == span.1 => last.0 = span.0,
            _ => spans.push(span),
        }
    }
    Ok(lists)
}

/// Attempts as lists show them, with the texts behind their numbers.
fn select() -> String {
    let groups = GROUPS.join(", ");
    format!(
        "SELECT f.seq, f.id_hi, f.id_lo, f.at_us, f.latency_us, f.outcome, f.http, e.text, u.text, a.text,
           c.text, v.text, m.text, {groups}, f.cost, f.cost_source, f.user
         FROM facts f JOIN purposes p ON p.id = f.purpose JOIN routes r ON r.id = f.route
         LEFT JOIN dict u ON u.id = f.user LEFT JOIN dict a ON a.id = f.account
         LEFT JOIN dict c ON c.id = p.use_case LEFT JOIN dict v ON v.id = r.provider
         LEFT JOIN dict m ON m.id = r.model LEFT JOIN dict e ON e.id = f.error"
    )
}

/// The statement that finds attempts, and the values of its conditions.
struct Listing<'c> {
    statement: Statement<'c>,
    conditions: Vec<Value>,
    wanted: usize,
}

impl<'c> Listing<'c> {
    fn prepare(conn: &'c Connection, query: &Query, wanted: usize) -> rusqlite::Result<Self> {
        let (condition, conditions) = conditions(query);
        let direction = if query.reverse { "ASC" } else { "DESC" };
        let statement = conn.prepare(&format!(
            "SELECT f.at_us, f.seq FROM facts f LEFT JOIN dict u ON u.id = f.user
             WHERE {condition} AND f.seq >= ? AND f.seq <= ? AND f.at_us >= ? AND f.at_us < ?
             ORDER BY f.at_us {direction}, f.seq {direction} LIMIT ?"
        ))?;
        Ok(Self { statement, conditions, wanted })
    }

    /// The first attempts of a span of time among the facts of these numbers, as many as may be wanted: when each
    /// began, and its number.
    fn read(
        &mut self,
        (since_us, until_us): Span,
        (first, last): (i64, i64),
        found: &mut Vec<(i64, i64)>,
    ) -> rusqlite::Result<()> {
        let ends = [first, last, since_us, until_us].map(Value::Integer);
        let values = self.conditions.iter().cloned().chain(ends).chain([integer(self.wanted)]);
        for row in self.statement.query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?)))? {
            found.push(row?);
        }
        Ok(())
    }
}

fn request_of(row: &Row<'_>) -> rusqlite::Result<Request> {
    let count = |i: usize| row.get::<_, i64>(i).map(|n| n.max(0).cast_unsigned());
    let user: i64 = row.get(20)?;
    let user_id: Option<String> = row.get(8)?;
    Ok(Request {
        seq: row.get(0)?,
        id: ids::join(row.get(1)?, row.get(2)?),
        at: time(row.get(3)?),
        latency: Duration::from_micros(count(4)?),
        outcome: outcome(row.get(5)?),
        http_status: row.get(6)?,
        error: row.get(7)?,
        user_id: user_id.or_else(|| (user != 0).then(|| super::forgotten(user))),
        account_name: row.get(9)?,
        use_case_name: row.get(10)?,
        provider: row.get(11)?,
        model: row.get(12)?,
        tokens: Tokens {
            input: count(13)?,
            cache_read: count(14)?,
            cache_write: count(15)?,
            output: count(16)?,
            reasoning: count(17)?,
        },
        cost: Cost { amount: Money::from_pico(row.get::<_, i64>(18)?.into()), source: source(row.get(19)?) },
    })
}

/// The query as a condition on `facts f` and their users `dict u` in SQL, its range apart: columns from a fixed list, values bound.
pub(super) fn conditions(query: &Query) -> (String, Vec<Value>) {
    let mut terms = vec!["1".to_owned()];
    let mut values = Vec::new();
    for (dimension, pick) in &query.picks {
        match pick {
            Pick::Missing => {
                terms.push(term(*dimension, "= ?"));
                values.push(Value::Integer(dimension.none()));
            }
            Pick::Is(text) => match dimension {
                Dimension::Version | Dimension::Outcome => {
                    terms.push(term(*dimension, "= ?"));
                    let code = match dimension {
                        Dimension::Outcome => Outcome::ALL.iter().position(|o| o.name() == text).map(integer),
                        _ => text.parse().ok().map(Value::Integer),
                    };
                    values.push(code.unwrap_or(Value::Null));
                }
                _ => {
                    terms.push(term(*dimension, "IN (SELECT id FROM dict WHERE kind = ? AND text = ?)"));
                    values.push(Value::Integer(dimension.code()));
                    values.push(Value::Text(text.clone()));
                }
            },
        }
    }
    if let Some(source) = query.source {
        terms.push("f.cost_source = ?".into());
        values.push(integer(source as usize));
        if source == CostSource::Unpriced {
            // A refused attempt used nothing; it is not "of unknown cost".
            terms.push(format!("(f.outcome IN (0, 2) OR {} > 0)", tokens()));
        }
    }
    if !query.search.is_empty() {
        // Asked of one attempt after the other: what is looked up for all of them is looked up before (`Found`).
        terms.push(
            "u.text LIKE ? ESCAPE '\\' OR EXISTS(
               SELECT 1 FROM details d WHERE d.seq = f.seq AND d.response_id = ?)"
                .into(),
        );
        values.push(Value::Text(part(&query.search)));
        values.push(Value::Text(query.search.clone()));
    }
    (terms.iter().map(|t| format!("({t})")).collect::<Vec<_>>().join(" AND "), values)
}

/// A condition on one dimension, whose numbers are in `facts` or in what these refer to.
fn term(dimension: Dimension, is: &str) -> String {
    let purpose = |column| format!("f.purpose IN (SELECT id FROM purposes WHERE {column} {is})");
    let route = |column| format!("f.route IN (SELECT id FROM routes WHERE {column} {is})");
    match dimension {
        Dimension::User => format!("f.user {is}"),
        Dimension::Account => format!("f.account {is}"),
        Dimension::UseCase => purpose("use_case"),
        Dimension::Version => purpose("version"),
        Dimension::Step => purpose("step"),
        Dimension::Provider => route("provider"),
        Dimension::Model => route("model"),
        Dimension::Outcome => format!("f.outcome {is}"),
        Dimension::Error => format!("f.error {is}"),
    }
}

pub(super) fn integer(n: usize) -> Value {
    Value::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

/// An instance of a use case, as the first event that names it has it.
pub(super) fn instance(conn: &Connection, name: &str, id: &str) -> rusqlite::Result<Option<UseCase>> {
    conn.query_row(
        "SELECT p.version FROM details d JOIN facts f ON f.seq = d.seq JOIN purposes p ON p.id = f.purpose
         JOIN dict c ON c.id = p.use_case WHERE d.use_case_id = ?1 AND c.text = ?2 LIMIT 1",
        [id, name],
        |row| {
            let version = u32::try_from(row.get::<_, i64>(0)?).ok();
            let (name, id) = (Text::new(name), Some(Text::new(id)));
            Ok(UseCase { name, id, version, ..UseCase::default() })
        },
    )
    .optional()
}

/// An attempt in full, and the numbers and event ids of all attempts of its call where there were more.
pub type WithAttempts = (StoredEvent, Vec<(u32, Uuid)>);

/// The attempt with this event id, in full, and the other attempts of its call.
pub(super) fn request(conn: &Connection, id: Uuid) -> rusqlite::Result<Option<WithAttempts>> {
    let Some(seq) = find_seq(conn, id)? else { return Ok(None) };
    let Some(event) = stored::after(conn, seq - 1, 1)?.pop().filter(|e| e.seq == seq) else {
        return Ok(None);
    };
    let (hi, lo) = ids::halves(event.event.call_id);
    let attempts = conn
        .prepare(
            "SELECT a.attempt, f.id_hi, f.id_lo FROM attempts a JOIN facts f ON f.seq = a.seq
             WHERE a.call_hi = ?1 AND a.call_lo = ?2 ORDER BY a.attempt, a.seq",
        )?
        .query_map([hi, lo], |row| Ok((row.get(0)?, ids::join(row.get(1)?, row.get(2)?))))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Some((event, attempts)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Bucket;

    #[test]
    fn sums_of_tokens_have_every_bucket_that_counts_tokens() {
        let columns = |sum: &str| -> Vec<String> {
            let mut columns: Vec<_> = sum
                .trim_matches(['(', ')'])
                .split('+')
                .map(|column| column.trim().trim_start_matches("f.").to_owned())
                .collect();
            columns.sort();
            columns
        };
        let buckets = |wanted: fn(Bucket) -> bool| -> Vec<String> {
            let names = Bucket::ALL.into_iter().filter(|bucket| wanted(*bucket)).map(|b| b.name().to_owned());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        };
        let [input, cache_read, cache_write, output, reasoning] = GROUPS;
        let joined = [input, cache_read, cache_write].join("+");
        assert_eq!(columns(&joined), buckets(Bucket::is_input_token));
        assert_eq!(columns(&[output, reasoning].join("+")), buckets(Bucket::is_output_token));
        assert_eq!(columns(&tokens()), buckets(|b| b.is_input_token() || b.is_output_token()));
    }
}
