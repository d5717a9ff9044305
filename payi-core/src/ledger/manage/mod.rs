//! What a person does to a ledger by hand: prune, forget, export, import, check.

mod check;
mod forget;
mod line;
mod prune;
#[cfg(test)]
mod tests;

pub use check::Checked;
pub use forget::Forgotten;
pub use prune::Pruned;

use std::{
    io::{BufRead, Write},
    time::SystemTime,
};

use crate::{
    context::Resolved,
    error::{Error, Kind, Result},
    events::Event,
    ledger::{
        Appender, Keep, Ledger,
        fold::{self, chain::ChainKey},
    },
};

/// How many events an export reads, and an import writes, at a time.
const PIECE: usize = 512;

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Events written.
    pub written: u64,
    /// Events that were in the ledger already.
    pub known: u64,
    /// Events older than what has been pruned.
    pub too_late: u64,
}

/// Work on the whole ledger. None of it is done on a caller's task.
impl Ledger {
    /// Deletes facts that began before `before`, which is rounded down to a UTC day. Totals stay, in the rollups, by
    /// every dimension; what is gone is the detail: single calls, and reports that begin or end within a quarter of an
    /// hour (they then count what began in it as one).
    /// What a deliverer has not seen yet is kept; what one has set aside goes with the rest.
    pub fn prune(&self, before: SystemTime) -> Result<Pruned> {
        self.with(|conn| prune::prune(conn, before))
    }

    /// Keeps a ledger in memory from growing for ever; a file is left alone. How many events were lost to deliverers.
    pub(crate) fn trim_memory(&self, most: i64) -> Result<u64> {
        if self.path().is_some() { Ok(0) } else { self.with(|conn| prune::trim(conn, most)) }
    }

    /// Erases a person: their id, the properties of their calls, their prompts. What they used and cost stays, under
    /// no name. No byte of the id is left in the file, which is made anew for that: it takes as much room again, and a
    /// while on a large ledger.
    pub fn forget(&self, user_id: &str) -> Result<Forgotten> {
        self.with(|conn| forget::forget(conn, user_id))
    }

    /// Writes events as JSON lines, oldest first: all, or one user's. How many there were.
    pub fn export(&self, user_id: Option<&str>, out: &mut dyn Write) -> Result<u64> {
        let mut after = 0;
        let mut count = 0;
        loop {
            let events = self.follow(after, PIECE)?;
            let Some(last) = events.last() else { return Ok(count) };
            after = last.seq;
            for stored in
                events.iter().filter(|s| user_id.is_none_or(|id| s.who.user_id.as_deref() == Some(id)))
            {
                line::write(stored, out)
                    .map_err(|e| Error::with_source(Kind::Ledger, "the export could not be written", e))?;
                count += 1;
            }
        }
    }

    /// Reads events as [`Ledger::export`] writes them. An event that is in the ledger already is left as it is, so
    /// that an import may be repeated.
    ///
    /// # Errors
    /// At the first line that is no event, with its number; what came before it is written.
    pub fn import(&self, lines: impl BufRead) -> Result<Imported> {
        let mut appender = Appender::default();
        let mut done = Imported::default();
        let mut piece: Vec<(Event, Resolved)> = Vec::with_capacity(PIECE);
        for (line, number) in lines.lines().zip(1_u64..) {
            let line = line.map_err(|e| {
                Error::with_source(Kind::Ledger, format!("line {number} could not be read"), e)
            })?;
            if !line.trim().is_empty() {
                let event = line::read(&line).map_err(|what| {
                    Error::new(
                        Kind::Ledger,
                        format!("line {number} is not an event as `payi ledger export` writes it: {what}"),
                    )
                });
                match event {
                    Ok(event) => piece.push(event),
                    Err(e) => {
                        self.import_piece(&mut appender, &mut piece, &mut done)?;
                        return Err(e);
                    }
                }
            }
            if piece.len() >= PIECE {
                self.import_piece(&mut appender, &mut piece, &mut done)?;
            }
        }
        self.import_piece(&mut appender, &mut piece, &mut done)?;
        Ok(done)
    }

    fn import_piece(
        &self,
        appender: &mut Appender,
        piece: &mut Vec<(Event, Resolved)>,
        done: &mut Imported,
    ) -> Result<()> {
        let keep = Keep { exchanges: false, prompts: true };
        let events = piece.iter().map(|(event, who)| (event, who));
        let came_of_it = self.with(|conn| appender.append(conn, events, &[], "process:import", keep))?;
        piece.clear();
        // As it goes, so that the first report need not read all of it one by one.
        let key = ChainKey::of_environment();
        self.with(|conn| fold::work(conn, "process:import", key.as_ref()))?;
        done.written += came_of_it.facts;
        done.known += came_of_it.duplicates;
        done.too_late += came_of_it.too_late;
        Ok(())
    }

    /// Examines the file: SQLite's own check, every fact known by its id, rollups equal to facts, the chain of digests.
    pub fn check(&self) -> Result<Checked> {
        self.with(check::check)
    }
}
