//! Events that arrive from elsewhere: each once, however often it is sent, and nothing acknowledged
//! before it is committed.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use ring::digest::{SHA256, digest};
use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::{Builder, Uuid};

use crate::{
    context::{Properties, Resolved},
    error::Result,
    events::{Event, TOO_LATE},
    ledger::{
        Appended, Appender, Keep, Ledger,
        answers::Answers,
        append::{Became, count_losses},
        rows::micros,
    },
    limits::LimitState,
};

/// The event id of something that happened elsewhere: the same for the same category, response id and time, so
/// that what is sent twice is one event. Without a time it is the same for category and response id.
pub fn foreign_id(category: &str, response_id: &str, at: Option<SystemTime>) -> Uuid {
    let at_us = at.map(micros);
    let text = format!("{category}\n{response_id}\n{}", at_us.map_or_else(String::new, |us| us.to_string()));
    let hash = digest(&SHA256, text.as_bytes());
    let mut random = [0; 16];
    random.copy_from_slice(&hash.as_ref()[..16]);
    match at_us {
        Some(us) => {
            let mut tail = [0; 10];
            tail.copy_from_slice(&random[..10]);
            Builder::from_unix_timestamp_millis((us / 1000).max(0).cast_unsigned(), &tail).into_uuid()
        }
        None => Builder::from_custom_bytes(random).into_uuid(),
    }
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placed {
    /// Its number; `None` if it is older than what has been pruned: then it is not kept, but counted as lost.
    pub seq: Option<i64>,
    /// It was there already.
    pub duplicate: bool,
    /// The limits it counts against, each with its state after it; empty for a duplicate.
    pub limits: Vec<(Arc<str>, LimitState)>,
}

/// Dictionary ids that a collector keeps, because it sees the users of many processes: about twelve megabytes.
const IDS: usize = 200_000;

/// Writes events of others into a ledger, a batch at a time.
#[derive(Debug)]
pub struct Collector {
    ledger: Ledger,
    appender: Appender,
    keep_prompts: bool,
}

impl Collector {
    /// Writes to `ledger`, over a connection of its own. Prompts and answers are kept only if `keep_prompts`.
    ///
    /// # Errors
    /// [`Error::is_ledger`](crate::Error::is_ledger) if the ledger cannot be opened once more.
    pub fn new(ledger: &Ledger, keep_prompts: bool) -> Result<Self> {
        let mut appender = Appender::remembering(IDS);
        appender.limits.states = Some(Vec::new());
        Ok(Self { ledger: ledger.roomy()?, appender, keep_prompts })
    }

    /// Writes a batch in one transaction. It is durable, as far as the ledger is, when this returns.
    ///
    /// # Errors
    /// [`Error::is_ledger`](crate::Error::is_ledger) if it cannot be written; then nothing of it is.
    pub fn place(&mut self, events: &[(Event, Resolved)]) -> Result<Vec<Placed>> {
        let keep = Keep { exchanges: false, prompts: self.keep_prompts };
        let appender = &mut self.appender;
        let placed = self
            .ledger
            .with(|conn| appender.transaction(conn, |appender| place(conn, appender, events, keep)));
        let mut placed = placed?;
        let mut states: HashMap<i64, _> =
            appender.limits.states.iter_mut().flat_map(|all| all.drain(..)).collect();
        for placed in placed.iter_mut().filter(|placed| !placed.duplicate) {
            placed.limits = placed.seq.and_then(|seq| states.remove(&seq)).unwrap_or_default();
        }
        Ok(placed)
    }

    /// Lays `properties` over those of the event `seq`; whether there is such an event.
    ///
    /// # Errors
    /// [`Error::is_ledger`](crate::Error::is_ledger) if the ledger cannot be written.
    pub fn set_properties(&self, seq: i64, properties: &Properties) -> Result<bool> {
        self.ledger.with(|conn| set_properties(conn, seq, properties))
    }
}

fn place(
    conn: &Connection,
    appender: &mut Appender,
    events: &[(Event, Resolved)],
    keep: Keep,
) -> rusqlite::Result<Vec<Placed>> {
    let became = appender.append_within(conn, events.iter().map(|(e, w)| (e, w)), &[], "collector", keep)?;
    let late = became.iter().copied().collect::<Appended>().too_late;
    if late > 0 {
        count_losses(conn, &HashMap::from([(TOO_LATE, late)]))?;
    }
    let mut answers = Answers::new(conn);
    for ((event, _), became) in events.iter().zip(&became) {
        if let (Some(id), Became::Fact(seq)) = (event.response_id.as_deref(), became) {
            answers.note(&event.category, id, *seq)?;
        }
    }
    Ok(became.into_iter().map(Placed::of).collect())
}

impl Placed {
    fn of(became: Became) -> Self {
        let (seq, duplicate) = match became {
            Became::Fact(seq) => (Some(seq), false),
            Became::Duplicate(seq) => (seq, true),
            Became::TooLate => (None, false),
        };
        Self { seq, duplicate, limits: Vec::new() }
    }
}

fn set_properties(conn: &Connection, seq: i64, properties: &Properties) -> rusqlite::Result<bool> {
    let found: Option<i64> =
        conn.query_row("SELECT seq FROM facts WHERE seq = ?1", [seq], |row| row.get(0)).optional()?;
    if found.is_none() {
        return Ok(false);
    }
    let old: Option<String> = conn
        .query_row("SELECT properties FROM details WHERE seq = ?1", [seq], |row| row.get(0))
        .optional()?
        .flatten();
    let mut merged: Properties = old.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    for (name, value) in properties {
        match merged.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => old.clone_from(value),
            None => merged.push((name.clone(), value.clone())),
        }
    }
    let json = serde_json::to_string(&merged).unwrap_or_default();
    conn.execute(
        "INSERT INTO details(seq, properties) VALUES(?1, ?2)
         ON CONFLICT(seq) DO UPDATE SET properties = excluded.properties",
        params![seq, json],
    )?;
    Ok(true)
}
