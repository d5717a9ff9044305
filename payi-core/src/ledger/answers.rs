//! Collected events by their provider's response id.
//!
//! Response ids come in no order. One index over all of them would grow in all its pages at once: with some millions
//! in it, every event costs a page read and a page written. So it is in parts, one for each 65,536 facts, of which
//! only the last one grows, and that is small enough to stay in memory. A look-up asks each part, the oldest first.
//!
//! The first schema had one index, in `response_ids`. What was noted there is looked up there, and never moved.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

use crate::ledger::{append::last_seq, held::Held, ids};

/// Facts per part, as a power of two.
const PART: u32 = 16;
/// Bits of a hash that a slot has beside its part: few enough that parts are not negative.
const HASH: u32 = 43;
/// Slots that are tried for an id; of one that comes back more often, the first events are found.
const TRIES: i64 = 8;

/// Notes response ids, in the transaction that writes their events.
pub(crate) struct Answers<'c> {
    add: Held<'c>,
}

impl<'c> Answers<'c> {
    pub(crate) const fn new(conn: &'c Connection) -> Self {
        Self { add: Held::new(conn, "INSERT OR IGNORE INTO answers(k, seq) VALUES(?1, ?2)") }
    }

    /// Notes that event `seq` has this response id.
    pub(crate) fn note(&mut self, category: &str, response_id: &str, seq: i64) -> rusqlite::Result<()> {
        let first = slot(seq >> PART, category, response_id);
        for k in first..first + TRIES {
            if self.add.get()?.execute([k, seq])? == 1 {
                break;
            }
        }
        Ok(())
    }
}

/// The first slot for a response id among those of one part. Two providers may use the same id.
fn slot(part: i64, category: &str, response_id: &str) -> i64 {
    let hash = hash(category, response_id).cast_unsigned();
    (part << HASH) | (hash >> (u64::BITS - HASH)).cast_signed()
}

/// By which a response id is found, in the first schema too.
pub(crate) fn hash(category: &str, response_id: &str) -> i64 {
    ids::hash_text(&format!("{category}\n{response_id}"))
}

/// The number of the first fact that is left.
fn first_seq(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("SELECT coalesce(min(seq), 0) FROM facts", [], |row| row.get(0))
}

/// The event id of the first collected event of this category and response id.
pub(crate) fn find(conn: &Connection, category: &str, response_id: &str) -> rusqlite::Result<Option<Uuid>> {
    let id = |row: &Row<'_>| Ok(ids::join(row.get(0)?, row.get(1)?));
    // Everything that the first schema noted is older than any part.
    let hash = hash(category, response_id);
    let first = conn
        .prepare(&named("response_ids n", "n.hash = ?1"))?
        .query_row(params![hash, response_id, category], id)
        .optional()?;
    if first.is_some() {
        return Ok(first);
    }
    let mut later = conn.prepare(&named("answers n", "n.k >= ?1 AND n.k < ?4 ORDER BY n.k LIMIT 1"))?;
    for part in first_seq(conn)? >> PART..=last_seq(conn)? >> PART {
        let k = slot(part, category, response_id);
        let found = later.query_row(params![k, response_id, category, k + TRIES], id).optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Reads the event id at a place of an index `n`, where the response id (`?2`) and the category (`?3`) are those.
fn named(index: &str, place: &str) -> String {
    format!(
        "SELECT f.id_hi, f.id_lo FROM {index} JOIN facts f ON f.seq = n.seq
         JOIN details d ON d.seq = f.seq JOIN routes r ON r.id = f.route JOIN dict c ON c.id = r.category
         WHERE d.response_id = ?2 AND c.text = ?3 AND {place}"
    )
}

/// Lets go of the parts that have no facts any more.
pub(crate) fn prune(conn: &Connection) -> rusqlite::Result<()> {
    let part = first_seq(conn)? >> PART;
    conn.execute("DELETE FROM answers WHERE k < ?1", [part << HASH]).map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use crate::{
        events::Event,
        ledger::{
            Collector, Ledger,
            sample::{event, who},
        },
    };

    fn named(id: &str, category: &str, cost: i64) -> Event {
        Event { response_id: Some(id.into()), category: category.to_owned().into(), ..event(cost) }
    }

    #[test]
    fn an_event_is_found_in_whichever_part_it_is() {
        let ledger = Ledger::in_memory().unwrap();
        let mut collector = Collector::new(&ledger, false).unwrap();
        let find = |category: &str, id: &str| ledger.view(|v| v.by_response(category, id)).unwrap();
        let first = named("same", "system.openai", 1);
        collector.place(&[(first.clone(), who("u")), (named("same", "other", 2), who("u"))]).unwrap();
        // As if as many facts as a part has, and more, had come in between.
        ledger
            .with(|conn| crate::ledger::fold::set_meta(conn, "pruned_seq", (5 << super::PART) + 17))
            .unwrap();
        let (again, late) = (named("same", "system.openai", 3), named("late", "system.openai", 4));
        collector.place(&[(again, who("u")), (late.clone(), who("u"))]).unwrap();
        assert!(ledger.last_seq().unwrap() > 5 << super::PART);
        assert_eq!(find("system.openai", "same"), Some(first.id), "the first of those that share it");
        assert_eq!(find("system.openai", "late"), Some(late.id));
        assert_eq!(find("other", "late"), None, "two providers may use the same id");
        assert_eq!(find("system.openai", "nowhere"), None);
        // What no fact is left of goes.
        ledger.with(|conn| conn.execute("DELETE FROM facts WHERE seq < 10", [])).unwrap();
        ledger.with(super::prune).unwrap();
        let left: i64 =
            ledger.with(|c| c.query_row("SELECT count(*) FROM answers", [], |row| row.get(0))).unwrap();
        assert_eq!(left, 2);
    }
}
