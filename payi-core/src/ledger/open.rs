//! Opening a ledger: for writing, for reading without leaving a trace, or in memory.

use std::{
    ffi::OsString,
    fs,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, OpenFlags};

use crate::{
    error::{Error, Kind, Result},
    ledger::{
        Durability,
        schema::{self, Found},
    },
};

/// The first bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Opens a ledger for reading and writing; makes it if there is no file, or an empty one.
pub(crate) fn writable(path: &Path, durability: Durability) -> Result<Connection> {
    let place = path.display().to_string();
    refuse_foreign_bytes(path, &place)?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(|e| cannot(&place, "opened", e))?;
    patient(&mut conn).map_err(|e| cannot(&place, "opened", e))?;
    match schema::recognise(&conn).map_err(|e| cannot(&place, "read", e))? {
        Found::Foreign => return Err(schema::foreign(&place)),
        Found::Ledger(version) if version > schema::VERSION => return Err(schema::newer(&place, version)),
        Found::Ledger(_) | Found::Empty => {}
    }
    tune(&conn, durability).map_err(|e| cannot(&place, "written", e))?;
    schema::migrate(&conn, &place)?;
    Ok(conn)
}

/// A ledger that lives as long as its connection.
pub(crate) fn memory() -> Result<Connection> {
    let conn = Connection::open_in_memory().map_err(|e| cannot("in memory", "opened", e))?;
    schema::migrate(&conn, "in memory")?;
    Ok(conn)
}

/// A file as it was when it was taken for one at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtRest {
    bytes: u64,
    changed: Option<SystemTime>,
}

impl AtRest {
    /// `None` if there is a write-ahead log with something in it: somebody writes, or died writing.
    fn of(path: &Path) -> Option<Self> {
        if fs::metadata(beside(path, "-wal")).is_ok_and(|wal| wal.len() > 0) {
            return None;
        }
        let file = fs::metadata(path).ok()?;
        Some(Self { bytes: file.len(), changed: file.modified().ok() })
    }
}

/// Opens a ledger for reading only. Neither the file nor its write-ahead log is changed.
///
/// A file without a write-ahead log is at rest, and is read as immutable, so that nothing is made beside it;
/// with one it is read through SQLite's own sharing, also while another process writes.
pub(crate) fn readable(path: &Path) -> Result<(Connection, Option<AtRest>)> {
    let place = path.display().to_string();
    if !fs::exists(path).unwrap_or(true) {
        return Err(Error::new(
            Kind::Ledger,
            format!("there is no ledger at {place}; name its file with --ledger, or in PAYI_LEDGER"),
        ));
    }
    refuse_foreign_bytes(path, &place)?;
    let at_rest = AtRest::of(path);
    let conn = connect_readable(path, at_rest.is_some()).map_err(|e| cannot(&place, "opened", e))?;
    match schema::recognise(&conn).map_err(|e| cannot(&place, "read", e))? {
        Found::Ledger(version) => {
            let lent =
                schema::lend(&conn, version).and_then(|()| conn.pragma_update(None, "query_only", true));
            lent.map_err(|e| cannot(&place, "read", e))?;
            Ok((conn, at_rest))
        }
        Found::Empty => Err(Error::new(Kind::Ledger, format!("the ledger {place} is empty as yet"))),
        Found::Foreign => Err(schema::foreign(&place)),
    }
}

/// Opens the file anew if it was at rest, and is no longer as it was: as immutable it would never show what came since.
pub(crate) fn awake(path: &Path, conn: &mut Connection, at_rest: &mut Option<AtRest>) -> Result<()> {
    if at_rest.is_some() && AtRest::of(path) != *at_rest {
        (*conn, *at_rest) = readable(path)?;
    }
    Ok(())
}

fn connect_readable(path: &Path, at_rest: bool) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(uri(path, at_rest), flags)?;
    patient(&mut conn)?;
    conn.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384")?;
    Ok(conn)
}

/// A `file:` address of the path, every byte that means something in one escaped.
fn uri(path: &Path, at_rest: bool) -> String {
    use std::fmt::Write as _;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = absolute.to_string_lossy().replace('\\', "/");
    let mut uri = String::from(if text.starts_with('/') { "file:" } else { "file:/" });
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~:".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str(if at_rest { "?immutable=1" } else { "?mode=ro" });
    uri
}

/// `payi.db` → `payi.db-wal`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Says no to a file that is no database, before SQLite is asked to open it.
fn refuse_foreign_bytes(path: &Path, place: &str) -> Result<()> {
    let mut head = Vec::with_capacity(MAGIC.len());
    match fs::File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(cannot(place, "opened", e)),
        Ok(file) => file.take(16).read_to_end(&mut head).map_err(|e| cannot(place, "read", e))?,
    };
    if head.is_empty() || head == MAGIC { Ok(()) } else { Err(schema::foreign(place)) }
}

/// Sets the connection up. Of several that turn a new file to WAL at once SQLite sends some away without
/// asking the busy handler, because it cannot tell waiting from a deadlock: those come again.
fn tune(conn: &Connection, durability: Durability) -> rusqlite::Result<()> {
    const AGAIN: Duration = Duration::from_millis(2);
    const TIMES: u32 = 2_500; // about 5 s
    let synchronous = match durability {
        Durability::Buffered => "NORMAL",
        Durability::Synced => "FULL",
    };
    let pragmas = format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -1024; PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 16777216"
    );
    for _ in 0..TIMES {
        match conn.execute_batch(&pragmas) {
            Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
                thread::sleep(AGAIN);
            }
            done => return done,
        }
    }
    conn.execute_batch(&pragmas)
}

/// Gives a connection room for what thousands of events touch at once: 16 MB of pages, and as much in the write-ahead
/// log before it is copied into the file, because in between the same pages are written again and again.
pub(crate) fn widen(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 4000")
}

/// Waits for other writers in short naps: SQLite's own back-off was seen to starve one side for 1.5 s.
fn patient(conn: &mut Connection) -> rusqlite::Result<()> {
    const NAP: Duration = Duration::from_micros(300);
    const NAPS: i32 = 10_000; // about 5 s
    fn wait(naps: i32) -> bool {
        thread::sleep(NAP);
        naps < NAPS
    }
    conn.busy_handler(Some(wait as fn(i32) -> bool))
}

fn cannot(place: &str, what: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let source = source.into();
    Error::with_source(Kind::Ledger, format!("the ledger {place} could not be {what}: {source}"), source)
}
