//! The ledger: one SQLite file that holds what was spent, by whom and for what, each attempt once.
//!
//! It is also the queue: deliverers follow it in commit order with a cursor each
//! ([`Ledger::follow`]), so there is no second place where an event could be lost.
//! Several processes may write one file.

mod abandoned;
mod answers;
mod append;
mod catalogue;
mod chain;
mod claim;
mod collect;
mod dict;
mod fact;
pub(crate) mod fold;
mod follow;
mod held;
mod house;
mod ids;
mod kinds;
mod limits;
mod manage;
mod open;
pub mod read;
mod rows;
#[cfg(test)]
pub(crate) mod sample;
mod schema;
mod sketch;
mod stored;
#[cfg(test)]
mod tests;
mod unattributed;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::Connection;
use uuid::Uuid;

pub use crate::events::is_correction;
pub(crate) use append::{Appended, Appender, Keep, count_losses};
pub use catalogue::Documents;
pub use collect::{Collector, Placed, foreign_id};
pub use follow::{Lease, Loss, Quarantined};
pub use house::{Folder, KEEP_PROMPTS};
pub(crate) use house::{Housekeeping, sweep};
pub use ids::corrected;
pub use limits::LedgerStore;
pub use manage::{Checked, Forgotten, Imported, Pruned};
pub use read::{Filter, Sort, UsersReport};
pub use stored::StoredEvent;
pub use unattributed::CallSite;

use crate::error::{Error, Kind, Result};

/// What a commit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A committed event survives the end of the process, however it ends. A power cut or a crash of
    /// the operating system may take the last commits (SQLite `synchronous = NORMAL`).
    Buffered,
    /// A committed event survives a power cut too, as far as the disk keeps its word
    /// (`synchronous = FULL`). The default.
    #[default]
    Synced,
}

/// A handle to a ledger. Cheap to clone; clones share one connection.
#[derive(Clone, Debug)]
pub struct Ledger {
    place: Place,
    conn: Arc<Mutex<Open>>,
}

/// A connection, and whether its file was at rest when it was made.
#[derive(Debug)]
struct Open {
    conn: Connection,
    at_rest: Option<open::AtRest>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    File(PathBuf, Durability),
    Memory,
    ReadOnly(PathBuf),
}

impl Ledger {
    /// Opens the ledger at `path` for reading and writing, and makes it if there is none.
    ///
    /// # Errors
    /// [`Error::is_ledger`] if the file is not a payi ledger, was written by a newer payi, or cannot be
    /// written. Nothing is created or changed then.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Durability::default())
    }

    /// The same with a choice of what a commit survives.
    pub fn open_with(path: impl AsRef<Path>, durability: Durability) -> Result<Self> {
        let path = path.as_ref();
        let conn = open::writable(path, durability)?;
        Ok(Self::of(Place::File(path.into(), durability), conn))
    }

    /// Opens the ledger at `path` for reading only, also while other processes write it. Neither the file
    /// nor its directory is changed.
    ///
    /// # Errors
    /// [`Error::is_ledger`] if there is no file, or it is not a payi ledger.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (conn, at_rest) = open::readable(path)?;
        Ok(Self { place: Place::ReadOnly(path.into()), conn: Arc::new(Mutex::new(Open { conn, at_rest })) })
    }

    /// A ledger that is gone with its last handle.
    pub fn in_memory() -> Result<Self> {
        Ok(Self::of(Place::Memory, open::memory()?))
    }

    fn of(place: Place, conn: Connection) -> Self {
        Self { place, conn: Arc::new(Mutex::new(Open { conn, at_rest: None })) }
    }

    /// A handle with a connection of its own, for another thread; in memory there is only one to share.
    pub(crate) fn another(&self) -> Result<Self> {
        match &self.place {
            Place::File(path, durability) => Self::open_with(path, *durability),
            Place::ReadOnly(path) => Self::open_read_only(path),
            Place::Memory => Ok(self.clone()),
        }
    }

    /// As [`Self::another`], with memory for who writes many events at once.
    pub(crate) fn roomy(&self) -> Result<Self> {
        let ledger = self.another()?;
        ledger.with(open::widen)?;
        Ok(ledger)
    }

    /// The file, unless the ledger is in memory.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path, _) | Place::ReadOnly(path) => Some(path),
            Place::Memory => None,
        }
    }

    /// Settles, as abandoned, the calls that processes which have died left open; how many there were.
    pub(crate) fn recover(&self, appender: &mut Appender, process: &str) -> Result<u64> {
        self.with(|conn| abandoned::recover(conn, appender, process))
    }

    /// Runs `work` on the connection.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let mut open = self.lock();
        if let Place::ReadOnly(path) = &self.place {
            let Open { conn, at_rest } = &mut *open;
            open::awake(path, conn, at_rest)?;
        }
        work(&open.conn).map_err(|e| self.broken(e))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.conn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broken(&self, source: rusqlite::Error) -> Error {
        let place = self.path().map_or_else(|| "in memory".into(), |p| p.display().to_string());
        Error::with_source(Kind::Ledger, format!("the ledger {place} could not be used: {source}"), source)
    }
}

/// For deliverers: what to send next, and how far they have come.
impl Ledger {
    /// Makes a deliverer known: from now on what it has not yet seen is kept for it. The first time it
    /// begins at the end of the ledger, or with `from_start` at its beginning.
    pub fn register(&self, deliverer: &str, from_start: bool) -> Result<()> {
        self.with(|conn| follow::register(conn, deliverer, from_start))
    }

    /// Up to `limit` events after number `after`, in commit order.
    pub fn follow(&self, after: i64, limit: usize) -> Result<Vec<StoredEvent>> {
        self.with(|conn| stored::after(conn, after, limit))
    }

    /// Whether a newer payi wrote it: then it can be read, and is not written by this one.
    pub fn is_newer(&self) -> Result<bool> {
        let version: i64 = self.with(|conn| conn.query_row("PRAGMA user_version", [], |row| row.get(0)))?;
        Ok(version > schema::VERSION)
    }

    /// The number of the newest event; 0 if there is none.
    pub fn last_seq(&self) -> Result<i64> {
        self.with(append::last_seq)
    }

    /// The number of the event with this id.
    pub fn find(&self, id: Uuid) -> Result<Option<i64>> {
        self.with(|conn| claim::find_seq(conn, id))
    }

    /// The number of the last event that `deliverer` has dealt with.
    pub fn cursor(&self, deliverer: &str) -> Result<i64> {
        self.with(|conn| follow::cursor(conn, deliverer))
    }

    /// Moves the cursor of `deliverer` forward, in the name of `lease`. `false` if the lease has passed to
    /// somebody else: stop then.
    pub fn set_cursor(&self, lease: &Lease, deliverer: &str, seq: i64) -> Result<bool> {
        self.with(|conn| follow::set_cursor(conn, lease, deliverer, seq))
    }

    /// Takes the lease `name` for `owner`, or renews it; `None` while somebody else holds it.
    pub fn lease(&self, name: &str, owner: &str, ttl: Duration) -> Result<Option<Lease>> {
        self.with(|conn| follow::lease(conn, name, owner, ttl))
    }

    /// Gives a lease back before it expires.
    pub fn release(&self, lease: &Lease) -> Result<()> {
        self.with(|conn| follow::release(conn, lease))
    }

    /// Claims providers' response ids for the events of these numbers, in one transaction; for each, `false`
    /// if another event has it, because hosts repeat them.
    pub fn claim_response_ids(&self, claims: &[(&str, i64)]) -> Result<Vec<bool>> {
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        self.with(|conn| follow::claim_response_ids(conn, claims))
    }

    /// Sets an event aside that `deliverer` cannot place; `reason` is a short code.
    pub fn quarantine(&self, deliverer: &str, seq: i64, reason: &str) -> Result<()> {
        self.with(|conn| follow::quarantine(conn, deliverer, seq, reason))
    }

    /// What `deliverer` has set aside, oldest first.
    pub fn quarantined(&self, deliverer: &str, limit: usize) -> Result<Vec<Quarantined>> {
        self.with(|conn| follow::quarantined(conn, deliverer, limit))
    }

    /// Takes an event out of quarantine: it was placed after all, or given up.
    pub fn release_quarantined(&self, deliverer: &str, seq: i64) -> Result<bool> {
        self.with(|conn| follow::release_quarantined(conn, deliverer, seq))
    }
}

/// For whoever looks after deliveries.
impl Ledger {
    /// Asks for another try of all that `deliverer` has set aside; how many events that is. Its process takes them up
    /// with [`Ledger::to_retry`].
    pub fn retry_quarantined(&self, deliverer: &str) -> Result<usize> {
        self.with(|conn| follow::retry_quarantined(conn, deliverer))
    }

    /// Up to `limit` events that `deliverer` is to try again, oldest first.
    pub fn to_retry(&self, deliverer: &str, limit: usize) -> Result<Vec<StoredEvent>> {
        self.with(|conn| {
            let mut events = Vec::new();
            for seq in follow::to_retry(conn, deliverer, limit)? {
                events.extend(stored::after(conn, seq - 1, 1)?.into_iter().filter(|event| event.seq == seq));
            }
            Ok(events)
        })
    }

    /// Gives up all that `deliverer` has set aside; how many events that is. They stay in the ledger.
    pub fn drop_quarantined(&self, deliverer: &str) -> Result<usize> {
        self.with(|conn| follow::drop_quarantined(conn, deliverer))
    }

    /// How many facts reports still read one by one, because they came after the last fold.
    pub fn unfolded(&self) -> Result<u64> {
        self.with(|conn| Ok(append::last_seq(conn)? - dict::meta(conn, "folded")?))
            .map(|n| n.max(0).cast_unsigned())
    }
}

/// Reports.
impl Ledger {
    /// Who spent what: one row per user and account, and a total that is the sum of the rows.
    pub fn users(&self, filter: &Filter) -> Result<UsersReport> {
        self.with(|conn| read::users(conn, filter))
    }

    /// What is missing from the ledger, by reason; empty if nothing was ever lost.
    pub fn losses(&self) -> Result<Vec<Loss>> {
        self.with(follow::losses)
    }

    /// How many calls are under way, or were when their process died a moment ago.
    pub fn open_calls(&self) -> Result<u64> {
        self.with(|conn| conn.query_row("SELECT count(*) FROM open_calls", [], |row| row.get::<_, i64>(0)))
            .map(|n| n.max(0).cast_unsigned())
    }
}
