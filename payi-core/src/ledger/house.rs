//! What has to be done to a ledger from time to time, by whichever process finds the time.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension as _};
use uuid::Uuid;

use crate::{
    error::Result,
    ledger::{Ledger, fold, fold::chain::ChainKey, limits, rows::micros},
};

/// How long prompts and answers are kept where nobody has said otherwise: 30 days.
pub const KEEP_PROMPTS: Duration = Duration::from_secs(30 * 86_400);

/// One process's part in it.
#[derive(Debug)]
pub(crate) struct Housekeeping {
    owner: String,
    key: Option<ChainKey>,
}

impl Housekeeping {
    /// With the chain's key from the environment.
    pub(crate) fn new(owner: String) -> Self {
        Self { owner, key: ChainKey::of_environment() }
    }

    /// Folds what there is to fold, a piece at a time; `true` if there may be more.
    pub(crate) fn fold(&self, ledger: &Ledger) -> Result<bool> {
        ledger.with(|conn| fold::work(conn, &self.owner, self.key.as_ref()))
    }
}

/// Keeps the rollups of a ledger up to date, and lets go of what has had its time, for a service that writes it with a
/// [`Collector`](super::Collector). An instrumented process does so by itself. Reports are exact without it; they only
/// take longer, and the file grows.
///
/// ```
/// use payi_core::ledger::{Folder, Ledger};
///
/// let ledger = Ledger::in_memory()?;
/// let folder = Folder::new(&ledger)?;
/// while folder.fold()? {}
/// folder.sweep(Some(payi_core::ledger::KEEP_PROMPTS))?; // every few minutes
/// # Ok::<(), payi_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Folder {
    ledger: Ledger,
    housekeeping: Housekeeping,
}

impl Folder {
    /// Folds over a connection of its own.
    ///
    /// # Errors
    /// [`Error::is_ledger`](crate::Error::is_ledger) if the ledger cannot be opened once more.
    pub fn new(ledger: &Ledger) -> Result<Self> {
        let housekeeping = Housekeeping::new(format!("folder:{}", Uuid::now_v7()));
        Ok(Self { ledger: ledger.roomy()?, housekeeping })
    }

    /// Folds some thousand events, if as many have come since the last time; `true` if there may be more. `false` too
    /// while another process is at it.
    ///
    /// # Errors
    /// [`Error::is_ledger`](crate::Error::is_ledger) if the ledger cannot be read or written.
    pub fn fold(&self) -> Result<bool> {
        self.housekeeping.fold(&self.ledger)
    }

    /// Lets go of what nobody needs any more: what limits have counted in windows that are over for a day, exchanges
    /// that every deliverer has passed, and prompts and answers older than `keep_prompts`. With `None` those stay:
    /// their retention is a matter of the process that keeps them.
    ///
    /// # Errors
    /// [`Error::is_ledger`](crate::Error::is_ledger) if the ledger cannot be read or written.
    pub fn sweep(&self, keep_prompts: Option<Duration>) -> Result<()> {
        sweep(&self.ledger, keep_prompts)
    }
}

/// See [`Folder::sweep`].
pub(crate) fn sweep(ledger: &Ledger, keep_prompts: Option<Duration>) -> Result<()> {
    ledger.with(|conn| {
        if let Some(keep) = keep_prompts {
            let oldest = SystemTime::now().checked_sub(keep).map_or(0, micros);
            let sql = "DELETE FROM prompts WHERE seq IN (SELECT seq FROM prompts WHERE at_us < ?1 LIMIT 500)";
            delete(conn, sql, oldest)?;
        }
        let passed: Option<i64> =
            conn.query_row("SELECT min(seq) FROM cursors", [], |row| row.get(0)).optional()?.flatten();
        // What a deliverer has set aside keeps its exchange.
        let sql = "DELETE FROM exchanges WHERE seq IN (SELECT x.seq FROM exchanges x WHERE x.seq <= ?1
             AND NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.seq = x.seq) LIMIT 500)";
        passed.map_or(Ok(()), |passed| delete(conn, sql, passed))?;
        while limits::forget(conn, micros(SystemTime::now()))? {}
        Ok(())
    })
}

/// Deletes in small steps, so that nobody waits long for the write lock.
fn delete(conn: &Connection, sql: &str, up_to: i64) -> rusqlite::Result<()> {
    while conn.execute(sql, [up_to])? > 0 {}
    Ok(())
}
