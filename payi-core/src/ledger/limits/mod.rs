//! The ledger as the store of limits: shared by all processes of a machine, in the file that holds the facts.

mod fold;
mod manage;
mod rows;
mod standings;

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension as _, params};

pub(crate) use fold::{Charged, Folder};
pub(crate) use manage::{bury, dead, forget};
pub(crate) use rows::Counters;

use self::rows::Key;
use crate::{
    error::Result,
    events::{Event, Opening},
    ledger::{Appender, Keep, Ledger, dict::Dictionary, follow, schema::writing},
    limits::{
        Answer, Ask, Change, Counter, Crossing, Definition, Definitions, Give, History, Later, SCARCE,
        Standing, Store, Subject, Tally, Totals, decayed, falls_from, granted, now_us,
    },
};

/// SQLite answers at once.
fn now<'a, T: Send + 'a>(done: Result<T>) -> Later<'a, T> {
    Box::pin(std::future::ready(done))
}

/// Limits in a ledger, for those who make and read them, and for the gate of a process.
pub struct LedgerStore {
    ledger: Ledger,
    own: Mutex<Own>,
}

/// What is learned on the way.
#[derive(Debug, Default)]
struct Own {
    dictionary: Dictionary,
    appender: Appender,
    /// SQLite's count of what others have committed.
    seen: Option<i64>,
}

impl LedgerStore {
    /// Over a handle to a ledger.
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, own: Mutex::default() }
    }

    /// What a limit had come to at each of its resets, newest first.
    ///
    /// # Errors
    /// [`Error::is_ledger`](crate::Error::is_ledger) if the ledger cannot be read.
    pub fn history(&self, id: &str) -> Result<Vec<History>> {
        self.ledger.with(|conn| manage::history(conn, id))
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of one moment: what is spent and what is held are two tables.
    fn read<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Later<'a, T> {
        now(self.ledger.with(|conn| {
            let moment = conn.unchecked_transaction()?;
            let seen = work(&moment)?;
            moment.commit()?;
            Ok(seen)
        }))
    }

    /// In one transaction. The dictionary is asked anew each time: what it learned in one that failed is gone.
    fn write<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&Connection, &mut Dictionary) -> rusqlite::Result<T>,
    ) -> Later<'a, T> {
        let mut own = self.own();
        let done = self.ledger.with(|conn| {
            let transaction = writing(conn)?;
            own.dictionary.refresh(conn)?;
            let done = work(conn, &mut own.dictionary)?;
            transaction.commit()?;
            Ok(done)
        });
        if done.is_err() {
            own.dictionary.clear();
        }
        drop(own);
        now(done)
    }
}

impl fmt::Debug for LedgerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerStore").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

fn take(conn: &Connection, dictionary: &mut Dictionary, holder: i64, ask: &Ask) -> rusqlite::Result<Answer> {
    let Some((number, definition)) = manage::find(conn, &ask.counter.limit)? else { return Ok(Answer::Gone) };
    let (limit, subject) = (&definition.limit, &ask.counter.subject);
    let key = Key::of(conn, dictionary, (number, limit.scope), subject)?;
    let now = now_us();
    if limit.rate().is_some() {
        let (level, then) = rows::level(conn, key)?;
        let from = falls_from(then, now);
        if from < then {
            rows::set_level(conn, key, (level, from))?;
        }
    }
    let mut file = Counters::new(conn);
    let mut standing = rows::standing(&mut file, key, limit, (subject, ask.at_us))?;
    let recall: Option<(i64, i64)> = conn
        .prepare("SELECT number, at_us FROM recalls WHERE limit_no = ?1 AND a = ?2 AND b = ?3")?
        .query_row(params![key.limit, key.a, key.b], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let scarce = recall.is_some_and(|(_, at)| at > now - SCARCE && at <= now);
    if let Some(amount) = granted(standing.room(), ask.need, ask.want, scarce) {
        file.hold(key, holder, amount)?;
        standing.held += amount;
        return Ok(Answer::Granted { amount, standing });
    }
    let others = |below: i64| -> rusqlite::Result<bool> {
        conn.prepare(
            "SELECT EXISTS(SELECT 1 FROM holdings
               WHERE limit_no = ?1 AND a = ?2 AND b = ?3 AND process <> ?4 AND answered < ?5)",
        )?
        .query_row(params![key.limit, key.a, key.b, holder, below], |row| row.get(0))
    };
    let asked = match ask.recall {
        Some(number) => others(i64::try_from(number).unwrap_or(i64::MAX))?.then_some(number),
        None if others(i64::MAX)? => {
            let number = recall.map_or(0, |(number, _)| number) + 1;
            conn.prepare("INSERT OR REPLACE INTO recalls VALUES(?1, ?2, ?3, ?4, ?5)")?
                .execute(params![key.limit, key.a, key.b, number, now])?;
            Some(number.cast_unsigned())
        }
        None => None,
    };
    Ok(Answer::Short { standing, asked })
}

fn give(conn: &Connection, dictionary: &mut Dictionary, holder: i64, give: &Give) -> rusqlite::Result<()> {
    let Some((number, definition)) = manage::find(conn, &give.counter.limit)? else { return Ok(()) };
    let limit = &definition.limit;
    let key = Key::of(conn, dictionary, (number, limit.scope), &give.counter.subject)?;
    if let (Some(at_us), Some(per_us)) = (give.used_at_us, limit.rate_us()) {
        let (level, then) = rows::level(conn, key)?;
        let (level, then) = decayed(level, then, at_us, limit.max_of(&give.counter.subject), per_us);
        rows::set_level(conn, key, (level + give.amount, then))?;
    }
    Counters::new(conn).hold(key, holder, -give.amount)
}

/// Notes that a process has answered the calls for a counter.
fn answer(
    conn: &Connection,
    dictionary: &mut Dictionary,
    holder: i64,
    counter: &Counter,
) -> rusqlite::Result<()> {
    let Some((number, definition)) = manage::find(conn, &counter.limit)? else { return Ok(()) };
    let key = Key::of(conn, dictionary, (number, definition.limit.scope), &counter.subject)?;
    conn.prepare(
        "UPDATE holdings SET answered = (SELECT r.number FROM recalls r
           WHERE r.limit_no = ?1 AND r.a = ?2 AND r.b = ?3)
         WHERE limit_no = ?1 AND a = ?2 AND b = ?3 AND process = ?4
           AND EXISTS (SELECT 1 FROM recalls r WHERE r.limit_no = ?1 AND r.a = ?2 AND r.b = ?3)",
    )?
    .execute(params![key.limit, key.a, key.b, holder])
    .map(drop)
}

fn recalled(conn: &Connection, process: &str) -> rusqlite::Result<Vec<Counter>> {
    let Some(holder) = manage::holder(conn, process)? else { return Ok(Vec::new()) };
    let mut rows = conn.prepare(
        "SELECT r.limit_no, r.a, r.b, l.id FROM recalls r JOIN limits l ON l.number = r.limit_no
         JOIN holdings h ON h.limit_no = r.limit_no AND h.a = r.a AND h.b = r.b
         WHERE h.process = ?1 AND h.answered < r.number",
    )?;
    let found: Vec<(Key, String)> = rows
        .query_map([holder], |row| {
            Ok((Key { limit: row.get(0)?, a: row.get(1)?, b: row.get(2)? }, row.get(3)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut file = Counters::new(conn);
    let counters =
        found.into_iter().map(|(key, id)| Ok(Counter { limit: id.into(), subject: file.subject(key)? }));
    counters.collect()
}

impl Store for LedgerStore {
    fn changed(&self) -> bool {
        // SQLite tells a connection of others' commits. In memory there is one connection for all, which counts the
        // rows that it changes.
        let count = match self.ledger.path() {
            Some(_) => "PRAGMA data_version",
            None => "SELECT total_changes()",
        };
        let mut own = self.own();
        let version = self.ledger.with(|conn| conn.query_row(count, [], |row| row.get(0))).ok();
        let changed = version.is_none() || own.seen != version;
        own.seen = version;
        changed
    }

    fn definitions(&self, known: u64) -> Later<'_, Option<Definitions>> {
        self.read(|conn| manage::definitions(conn, known))
    }

    fn definition(&self, id: &str) -> Later<'_, Option<Definition>> {
        self.read(|conn| Ok(manage::find(conn, id)?.map(|(_, definition)| definition)))
    }

    fn take(&self, process: &str, asks: Vec<Ask>) -> Later<'_, Vec<Answer>> {
        self.write(|conn, dictionary| {
            let (holder, _) = manage::holder_or_new(conn, process)?;
            asks.iter().map(|ask| take(conn, dictionary, holder, ask)).collect()
        })
    }

    fn give(&self, process: &str, gives: Vec<Give>, all_of: Vec<Counter>) -> Later<'_, ()> {
        self.write(|conn, dictionary| {
            let Some(holder) = manage::holder(conn, process)? else { return Ok(()) };
            for part in &gives {
                give(conn, dictionary, holder, part)?;
            }
            all_of.iter().try_for_each(|counter| answer(conn, dictionary, holder, counter))
        })
    }

    fn recalled(&self, process: &str) -> Later<'_, Vec<Counter>> {
        self.read(|conn| recalled(conn, process))
    }

    fn keep(&self, process: &str, ttl: Duration) -> Later<'_, bool> {
        self.write(|conn, _| {
            follow::lease(conn, process, process, ttl)?;
            Ok(!manage::holder_or_new(conn, process)?.1)
        })
    }

    fn open(&self, process: &str, openings: Vec<Opening>) -> Later<'_, ()> {
        let openings: Vec<_> =
            openings.into_iter().map(|opening| (opening.context.resolve(), opening)).collect();
        let openings: Vec<_> = openings.into_iter().map(|(who, opening)| (opening, who)).collect();
        let mut own = self.own();
        let appender = &mut own.appender;
        let done = self.ledger.with(|conn| appender.append(conn, [], &openings, process, Keep::default()));
        drop(own);
        now(done.map(drop))
    }

    fn settle(&self, process: &str, events: Vec<Event>) -> Later<'_, Vec<Crossing>> {
        let events: Vec<_> = events.into_iter().map(|event| (event.context.resolve(), event)).collect();
        let mut own = self.own();
        let appender = &mut own.appender;
        let batch = events.iter().map(|(who, event)| (event, who));
        let done = self.ledger.with(|conn| appender.append(conn, batch, &[], process, Keep::default()));
        let crossings = std::mem::take(&mut appender.limits.crossings);
        drop(own);
        now(done.map(|_| crossings))
    }

    fn expire(&self) -> Later<'_, u64> {
        let mut own = self.own();
        let done = self.ledger.recover(&mut own.appender, "");
        drop(own);
        now(done)
    }

    fn update<'a>(&'a self, id: &'a str, times: (i64, i64), change: Change<'a>) -> Later<'a, Definition> {
        let updated = self.write(|conn, _| {
            let old = manage::find(conn, id)?;
            let said = change(old.as_ref().map(|(_, old)| old)).and_then(|limit| limit.of_id(id));
            said.map(|limit| manage::put(conn, old, limit, times))
                .map_or_else(|e| Ok(Err(e)), |put| put.map(Ok))
        });
        Box::pin(async move { updated.await? })
    }

    fn remove(&self, id: &str) -> Later<'_, bool> {
        self.write(|conn, _| manage::remove(conn, id))
    }

    fn reset(&self, id: &str, at_us: i64) -> Later<'_, Option<History>> {
        self.write(|conn, _| manage::reset(conn, id, at_us))
    }

    fn counters(&self, id: &str, at_us: i64, most: usize) -> Later<'_, Vec<(Subject, Standing)>> {
        self.read(|conn| {
            let Some((number, definition)) = manage::find(conn, id)? else { return Ok(Vec::new()) };
            standings::leading(conn, number, &definition.limit, at_us, most)
        })
    }

    fn totals(&self, id: &str, at_us: i64) -> Later<'_, Option<Totals>> {
        self.read(|conn| {
            let Some((number, definition)) = manage::find(conn, id)? else { return Ok(None) };
            let (settled, overrun) = standings::totals(conn, number, &definition.limit, at_us)?;
            Ok(Some(Totals { settled, overrun, tally: manage::tally(conn, number)? }))
        })
    }

    fn counter(&self, counter: &Counter, at_us: i64) -> Later<'_, Option<Standing>> {
        self.read(|conn| {
            let Some((number, definition)) = manage::find(conn, &counter.limit)? else { return Ok(None) };
            let limit = &definition.limit;
            // Nobody has the key 0 of a limit that has one counter for each.
            let key = Key::find(conn, number, limit.scope, &counter.subject)?;
            let key = key.unwrap_or(Key { limit: number, a: -1, b: -1 });
            rows::standing(&mut Counters::new(conn), key, limit, (&counter.subject, at_us)).map(Some)
        })
    }

    fn tally(&self, id: &str) -> Later<'_, Tally> {
        self.read(|conn| match manage::find(conn, id)? {
            Some((number, _)) => manage::tally(conn, number),
            None => Ok(Tally::default()),
        })
    }
}
