//! Each event once: its id takes a place among all ids, or is found to have one.

use rusqlite::{Connection, OptionalExtension as _};
use uuid::Uuid;

use crate::{
    events::{Event, Outcome},
    ledger::{held::Held, ids},
};

/// What became of an event's wish for a place.
pub(crate) enum Claim {
    New(i64),
    /// Of the fact of this number, if it is known.
    Duplicate(Option<i64>),
    /// The same id was found abandoned after a crash of its process, or so it looked; this is how it really ended.
    Corrects {
        new: i64,
        old: i64,
    },
}

/// The places of ids, for one transaction.
pub(crate) struct Claims<'c> {
    take: Held<'c>,
    seq_of: Held<'c>,
    outcome_of: Held<'c>,
}

/// A fact by its number, and how it ended.
type Taken = (i64, i64);

/// Whose a slot is.
enum Slot {
    Nobodys,
    /// The fact of the id that was asked for.
    Its(Taken),
    Anothers,
}

impl<'c> Claims<'c> {
    pub(crate) const fn new(conn: &'c Connection) -> Self {
        Self {
            take: Held::new(conn, "INSERT OR IGNORE INTO event_ids(k, seq) VALUES(?1, ?2)"),
            seq_of: Held::new(conn, "SELECT seq FROM event_ids WHERE k = ?1"),
            outcome_of: Held::new(
                conn,
                "SELECT outcome FROM facts WHERE seq = ?1 AND id_hi = ?2 AND id_lo = ?3",
            ),
        }
    }

    /// Takes the number `seq` for an event, unless it has one.
    pub(crate) fn claim(&mut self, event: &Event, seq: i64) -> rusqlite::Result<Claim> {
        let Some((old, outcome)) = self.take(event.id, seq)? else { return Ok(Claim::New(seq)) };
        let mut taken = old;
        if outcome == Outcome::Abandoned as i64 && event.outcome != Outcome::Abandoned {
            match self.take(ids::correction(event.id), seq)? {
                None => return Ok(Claim::Corrects { new: seq, old }),
                Some((corrected, _)) => taken = corrected,
            }
        }
        Ok(Claim::Duplicate((taken > 0).then_some(taken)))
    }

    /// Takes a slot for the id, or says which fact has it.
    fn take(&mut self, id: Uuid, seq: i64) -> rusqlite::Result<Option<Taken>> {
        let mut k = ids::fold(id);
        for _ in 0..ids::PROBES {
            if self.take.get()?.execute([k, seq])? == 1 {
                return Ok(None);
            }
            if let Slot::Its(taken) = self.slot(k, id)? {
                return Ok(Some(taken));
            }
            k = ids::next_slot(k);
        }
        // Hundreds of ids of one microsecond with equal random bits are nobody's accident.
        Ok(Some((0, Outcome::Ok as i64)))
    }

    fn slot(&mut self, k: i64, id: Uuid) -> rusqlite::Result<Slot> {
        let seq: Option<i64> = self.seq_of.get()?.query_row([k], |row| row.get(0)).optional()?;
        let Some(seq) = seq else { return Ok(Slot::Nobodys) };
        let (hi, lo) = ids::halves(id);
        let outcome = self.outcome_of.get()?.query_row([seq, hi, lo], |row| row.get(0)).optional()?;
        Ok(outcome.map_or(Slot::Anothers, |outcome| Slot::Its((seq, outcome))))
    }
}

/// The fact of an event id.
pub(crate) fn find_seq(conn: &Connection, id: Uuid) -> rusqlite::Result<Option<i64>> {
    let (mut claims, mut k) = (Claims::new(conn), ids::fold(id));
    for _ in 0..ids::PROBES {
        match claims.slot(k, id)? {
            Slot::Nobodys => return Ok(None),
            Slot::Its((seq, _)) => return Ok(Some(seq)),
            Slot::Anothers => k = ids::next_slot(k),
        }
    }
    Ok(None)
}
