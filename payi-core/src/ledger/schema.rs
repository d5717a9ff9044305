//! The schema: every table of the ledger, and how a file is recognised as one.
//!
//! `facts` hold integers only and never change. Text lives in `dict` (and, where it is not worth a
//! dictionary entry, in `details`), so that a person can be erased without touching a fact.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::{Error, Kind, Result};

/// "PAYI" in ASCII: `PRAGMA application_id` of our files.
pub(crate) const APPLICATION_ID: i64 = 0x5041_5949;
/// `PRAGMA user_version`: the schema this version of payi writes.
pub(crate) const VERSION: i64 = 2;

/// What a text of `dict` is. The codes are part of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TextKind {
    User = 1,
    Account = 2,
    UseCase = 3,
    Step = 4,
    /// A set of limit ids or tags, as a JSON array.
    Labels = 5,
    Provider = 6,
    Operation = 7,
    Category = 8,
    Model = 9,
    Tier = 10,
    Geo = 11,
    Resource = 12,
    Scope = 13,
    Module = 14,
    Uri = 15,
    Error = 16,
}

/// The tables. Times are microseconds since 1970, money is pico-dollars unless a name says otherwise,
/// 0 in a column that points at a dictionary means "none".
const V1: &str = "
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- Strings to integers. A forgotten person's text and salt are NULL; the digest stays, for the chain.
CREATE TABLE dict(
  id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, text TEXT, salt BLOB, digest BLOB NOT NULL);
CREATE UNIQUE INDEX dict_text ON dict(kind, text) WHERE text IS NOT NULL;

-- Whose answer it was and how it is priced; one row per combination met.
CREATE TABLE routes(
  id INTEGER PRIMARY KEY,
  provider INTEGER NOT NULL, operation INTEGER NOT NULL, category INTEGER NOT NULL,
  request_model INTEGER NOT NULL, response_model INTEGER NOT NULL, model INTEGER NOT NULL,
  tier INTEGER NOT NULL, geo INTEGER NOT NULL,
  price_category INTEGER NOT NULL, price_resource INTEGER NOT NULL, scope INTEGER NOT NULL,
  module INTEGER NOT NULL, uri INTEGER NOT NULL,
  UNIQUE(provider, operation, category, request_model, response_model, tier, geo,
         price_category, price_resource, scope, module, uri));

-- What it was for; one row per combination met. No version is -1.
CREATE TABLE purposes(
  id INTEGER PRIMARY KEY,
  use_case INTEGER NOT NULL, version INTEGER NOT NULL, step INTEGER NOT NULL,
  limits INTEGER NOT NULL, tags INTEGER NOT NULL,
  UNIQUE(use_case, version, step, limits, tags));

-- One row per attempt, in the order of commits. Immutable.
CREATE TABLE facts(
  seq INTEGER PRIMARY KEY,
  id_hi INTEGER NOT NULL, id_lo INTEGER NOT NULL,
  at_us INTEGER NOT NULL, latency_us INTEGER NOT NULL, ttft_us INTEGER,
  attempt INTEGER NOT NULL, outcome INTEGER NOT NULL, http INTEGER, error INTEGER NOT NULL,
  user INTEGER NOT NULL, account INTEGER NOT NULL, purpose INTEGER NOT NULL, route INTEGER NOT NULL,
  flags INTEGER NOT NULL,
  cost INTEGER NOT NULL, cost_source INTEGER NOT NULL, reported INTEGER, corrects INTEGER,
  input INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL,
  cache_write_1h INTEGER NOT NULL, audio_input INTEGER NOT NULL, audio_cache_read INTEGER NOT NULL,
  image_input INTEGER NOT NULL, image_cache_read INTEGER NOT NULL, video_input INTEGER NOT NULL,
  output INTEGER NOT NULL, reasoning INTEGER NOT NULL, audio_output INTEGER NOT NULL,
  image_output INTEGER NOT NULL, web_searches INTEGER NOT NULL, file_searches INTEGER NOT NULL,
  audio_ms INTEGER NOT NULL, images INTEGER NOT NULL, characters INTEGER NOT NULL,
  pages INTEGER NOT NULL, search_units INTEGER NOT NULL);

-- Exactly once: the event id folded into one integer that grows with time, so that a look-up stays in
-- warm pages. Two ids may fold alike; the next free slot is then taken (see ids.rs).
CREATE TABLE event_ids(k INTEGER PRIMARY KEY, seq INTEGER NOT NULL);

-- The attempts of calls that had more than one.
CREATE TABLE attempts(
  call_hi INTEGER NOT NULL, call_lo INTEGER NOT NULL, attempt INTEGER NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY(call_hi, call_lo, attempt, seq)) WITHOUT ROWID;
CREATE INDEX attempts_seq ON attempts(seq);
-- Facts that no longer count as a call, because fact `by` says how the call went on.
CREATE TABLE superseded(by INTEGER PRIMARY KEY, seq INTEGER NOT NULL UNIQUE);

-- Text of one event that no other event shares.
CREATE TABLE details(
  seq INTEGER PRIMARY KEY, response_id TEXT, use_case_id TEXT, properties TEXT, use_case_properties TEXT);
-- What a deliverer needs and no report does: kept until every deliverer has passed it.
CREATE TABLE exchanges(seq INTEGER PRIMARY KEY, headers TEXT, function_calls TEXT);
-- Prompts and answers, where asked for; gone after their retention.
CREATE TABLE prompts(seq INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, request TEXT, response TEXT);

-- Attempts begun and not ended. `process` is the lease of the process they run in.
CREATE TABLE open_calls(
  id_hi INTEGER NOT NULL, id_lo INTEGER NOT NULL, call_hi INTEGER NOT NULL, call_lo INTEGER NOT NULL,
  attempt INTEGER NOT NULL, at_us INTEGER NOT NULL, process TEXT NOT NULL,
  user INTEGER NOT NULL, account INTEGER NOT NULL, purpose INTEGER NOT NULL, route INTEGER NOT NULL,
  -- What limits have reserved for it: charged should its end never come.
  cost INTEGER, cost_source INTEGER, input INTEGER, output INTEGER,
  PRIMARY KEY(id_hi, id_lo)) WITHOUT ROWID;

-- What rollups are split by besides people (see kinds.rs).
CREATE TABLE whats(
  id INTEGER PRIMARY KEY, use_case INTEGER NOT NULL, version INTEGER NOT NULL, step INTEGER NOT NULL);
CREATE TABLE hows(
  id INTEGER PRIMARY KEY, provider INTEGER NOT NULL, model INTEGER NOT NULL, outcome INTEGER NOT NULL,
  error INTEGER NOT NULL, source INTEGER NOT NULL, unpriced INTEGER NOT NULL);
-- Sums of the facts up to the watermark `folded` of `meta` (see fold/). A slot's runs are added up; a run's rows are
-- parts of it, each for users from `low` to `high`.
CREATE TABLE rollup(
  grain INTEGER NOT NULL, slot INTEGER NOT NULL, run INTEGER NOT NULL, part INTEGER NOT NULL,
  low INTEGER NOT NULL, high INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY(grain, slot, run, part)) WITHOUT ROWID;
-- Consecutive runs of facts: the time they span, and the chain of digests over them.
CREATE TABLE batches(
  id INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
  min_us INTEGER NOT NULL, max_us INTEGER NOT NULL, last_dict INTEGER NOT NULL, head BLOB NOT NULL);

-- How far each deliverer has come, in commit order.
CREATE TABLE cursors(name TEXT PRIMARY KEY, seq INTEGER NOT NULL, updated_us INTEGER NOT NULL) WITHOUT ROWID;
-- Who may do what only one may do at a time. `fence` grows with every change of hands.
CREATE TABLE leases(
  name TEXT PRIMARY KEY, owner TEXT NOT NULL, fence INTEGER NOT NULL, expires_us INTEGER NOT NULL) WITHOUT ROWID;
-- What a deliverer could not place, kept for a person to look at.
CREATE TABLE quarantine(
  deliverer TEXT NOT NULL, seq INTEGER NOT NULL, reason TEXT NOT NULL, at_us INTEGER NOT NULL,
  attempts INTEGER NOT NULL, retry INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(deliverer, seq)) WITHOUT ROWID;
-- Provider response ids already used as Pay-i's id, by their hash; and what was collected before `answers` was there,
-- by the hash of category and response id.
CREATE TABLE response_ids(hash INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
-- Calls without a required key, by the line of code that made them.
CREATE TABLE unattributed(
  site TEXT NOT NULL, missing TEXT NOT NULL, calls INTEGER NOT NULL, last_us INTEGER NOT NULL,
  PRIMARY KEY(site, missing)) WITHOUT ROWID;
-- What was lost, by reason.
CREATE TABLE losses(reason TEXT PRIMARY KEY, count INTEGER NOT NULL, last_us INTEGER NOT NULL) WITHOUT ROWID;

-- What may be spent. `body` is the rule as JSON; what began before `epoch_us` does not count.
CREATE TABLE limits(
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL,
  created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL, epoch_us INTEGER NOT NULL);
-- What was spent, a sum over facts kept by the transaction that appends them. `a` and `b` are whose, by their ids
-- in `dict`; amounts are millions and the rest. Of a rate it is the level, and when it was that.
CREATE TABLE counters(
  limit_no INTEGER NOT NULL, a INTEGER NOT NULL, b INTEGER NOT NULL, slot INTEGER NOT NULL,
  mega INTEGER NOT NULL, rest INTEGER NOT NULL, at_us INTEGER NOT NULL,
  PRIMARY KEY(limit_no, a, b, slot)) WITHOUT ROWID;
-- What processes were given of a counter and have not spent, and the last call for it that they have answered.
CREATE TABLE holdings(
  limit_no INTEGER NOT NULL, a INTEGER NOT NULL, b INTEGER NOT NULL, process INTEGER NOT NULL,
  mega INTEGER NOT NULL, rest INTEGER NOT NULL, answered INTEGER NOT NULL,
  PRIMARY KEY(limit_no, a, b, process)) WITHOUT ROWID;
-- Processes that hold something; each has a lease of the same name.
CREATE TABLE holders(number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
-- Counters that somebody has asked others to give back.
CREATE TABLE recalls(
  limit_no INTEGER NOT NULL, a INTEGER NOT NULL, b INTEGER NOT NULL, number INTEGER NOT NULL,
  at_us INTEGER NOT NULL, PRIMARY KEY(limit_no, a, b)) WITHOUT ROWID;
-- How calls left a limit, by the code of the state.
CREATE TABLE tallies(
  limit_no INTEGER NOT NULL, state INTEGER NOT NULL, calls INTEGER NOT NULL,
  PRIMARY KEY(limit_no, state)) WITHOUT ROWID;
-- What limits had come to when they were reset.
CREATE TABLE limit_history(
  id TEXT NOT NULL, reset_us INTEGER NOT NULL, body TEXT NOT NULL, settled TEXT NOT NULL, overrun TEXT NOT NULL,
  tally TEXT NOT NULL, PRIMARY KEY(id, reset_us)) WITHOUT ROWID;
";

/// What came with the second schema. A step only ever adds tables: see [`lend`].
const V2: &str = "
-- What few events have, as JSON: what other models did for the call, and what a guardrail did.
CREATE TABLE extras(seq INTEGER PRIMARY KEY, elsewhere TEXT, guardrail TEXT);
-- Collected events by their provider's response id (see answers.rs).
CREATE TABLE answers(k INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
-- The most that one fact of a batch has.
CREATE TABLE peaks(
  batch INTEGER PRIMARY KEY, cost INTEGER NOT NULL, latency INTEGER NOT NULL, tokens INTEGER NOT NULL);
";

/// What a database turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No table at all: a new file, or one whose maker died before the first commit.
    Empty,
    /// A ledger of this schema version.
    Ledger(i64),
    /// Somebody else's database.
    Foreign,
}

/// Looks, and changes nothing.
pub(crate) fn recognise(conn: &Connection) -> rusqlite::Result<Found> {
    let id: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (id, tables) {
        (APPLICATION_ID, 1..) => Found::Ledger(version),
        (0 | APPLICATION_ID, 0) if version == 0 => Found::Empty,
        _ => Found::Foreign,
    })
}

/// Brings an open database to [`VERSION`], in one transaction: it has the old schema or the new one.
pub(crate) fn migrate(conn: &Connection, place: &str) -> Result<()> {
    let failed = |e| Error::with_source(Kind::Ledger, format!("the ledger {place} could not be set up"), e);
    let transaction = writing(conn).map_err(failed)?;
    match recognise(conn).map_err(failed)? {
        Found::Empty => create(conn).map_err(failed)?,
        Found::Ledger(VERSION) => {}
        Found::Ledger(version) if version > VERSION => return Err(newer(place, version)),
        Found::Ledger(1) => {
            conn.execute_batch(V2).map_err(failed)?;
            conn.pragma_update(None, "user_version", VERSION).map_err(failed)?;
        }
        Found::Ledger(_) | Found::Foreign => return Err(foreign(place)),
    }
    transaction.commit().map_err(failed)
}

/// Begins to write: from here on other writers wait. Rolled back when dropped, unless it is committed; so an error,
/// or a panic, in the middle leaves nothing behind.
///
/// SQLite refuses to begin a second one inside.
pub(crate) fn writing(conn: &Connection) -> rusqlite::Result<Transaction<'_>> {
    Transaction::new_unchecked(conn, TransactionBehavior::Immediate)
}

/// Gives a connection that only reads an older file the tables which that file lacks, empty and for itself alone.
pub(crate) fn lend(conn: &Connection, version: i64) -> rusqlite::Result<()> {
    if version >= VERSION {
        return Ok(());
    }
    conn.execute_batch(&V2.replace("CREATE TABLE", "CREATE TEMP TABLE"))
}

fn create(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(V1)?;
    conn.execute_batch(V2)?;
    conn.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}"))
}

pub(crate) fn foreign(place: &str) -> Error {
    Error::new(
        Kind::NotALedger,
        format!("{place} is not a payi ledger; it was left as it is. Name another file"),
    )
}

pub(crate) fn newer(place: &str, version: i64) -> Error {
    Error::new(
        Kind::NotALedger,
        format!(
            "the ledger {place} was written by a newer payi (schema {version}, this one knows {VERSION}); \
             update payi, or name another file"
        ),
    )
}
