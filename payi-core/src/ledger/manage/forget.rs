//! Erasing a person.

use rusqlite::{Connection, OptionalExtension as _};
use uuid::Uuid;

use crate::ledger::{dict::meta, fold, fold::set_meta, ids, schema::TextKind};

/// What was erased, and what cannot be erased from here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forgotten {
    /// Attempts that were theirs; their figures stay, under no name.
    pub attempts: u64,
    /// Events of theirs that have already gone to a deliverer, with its name: ask there to have them erased.
    pub delivered: Vec<(String, Vec<Uuid>)>,
    /// Whether the last copy is overwritten. If not, another process was at work on the file, or the disk had no room
    /// for it to be made anew: forget them once more.
    pub overwritten: bool,
}

pub(super) fn forget(conn: &Connection, user_id: &str) -> rusqlite::Result<Forgotten> {
    conn.execute_batch("PRAGMA secure_delete = ON")?;
    let done = fold::transaction(conn, || erase(conn, user_id));
    conn.execute_batch("PRAGMA secure_delete = OFF")?;
    let mut done = done?;
    // Also if nothing was found: it may be the second try.
    done.overwritten = rewrite(conn).is_ok();
    Ok(done)
}

/// Makes the file anew. Pages that were split while it grew hold copies of texts that no row knows of, so to
/// overwrite the rows is not enough; and the write-ahead log still has the pages as they were.
fn rewrite(conn: &Connection) -> rusqlite::Result<()> {
    // A copy of the whole ledger is too much for memory.
    conn.execute_batch("PRAGMA temp_store = FILE")?;
    let done = conn.execute_batch("VACUUM").and_then(|()| {
        let busy: i64 = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy == 0 { Ok(()) } else { Err(rusqlite::Error::InvalidQuery) }
    });
    conn.execute_batch("PRAGMA temp_store = MEMORY")?;
    done
}

fn erase(conn: &Connection, user_id: &str) -> rusqlite::Result<Forgotten> {
    let user: Option<i64> = conn
        .query_row(
            "SELECT id FROM dict WHERE kind = ?1 AND text = ?2",
            (TextKind::User as u8, user_id),
            |row| row.get(0),
        )
        .optional()?;
    let Some(user) = user else { return Ok(Forgotten::default()) };
    let theirs: Vec<(i64, Uuid)> = conn
        .prepare("SELECT seq, id_hi, id_lo FROM facts WHERE user = ?1")?
        .query_map([user], |row| Ok((row.get(0)?, ids::join(row.get(1)?, row.get(2)?))))?
        .collect::<Result<_, _>>()?;
    for (seq, _) in &theirs {
        conn.execute(
            "UPDATE details SET properties = NULL, use_case_properties = NULL WHERE seq = ?1",
            [seq],
        )?;
        conn.execute("DELETE FROM prompts WHERE seq = ?1", [seq])?;
        conn.execute("DELETE FROM exchanges WHERE seq = ?1", [seq])?;
    }
    conn.execute("UPDATE dict SET text = NULL, salt = NULL WHERE id = ?1", [user])?;
    // Running writers know the id by heart, until they see this.
    set_meta(conn, "erasures", meta(conn, "erasures")? + 1)?;
    let cursors: Vec<(String, i64)> = conn
        .prepare("SELECT name, seq FROM cursors ORDER BY name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let delivered = cursors
        .into_iter()
        .map(|(name, cursor)| {
            (name, theirs.iter().filter(|(seq, _)| *seq <= cursor).map(|(_, id)| *id).collect::<Vec<_>>())
        })
        .filter(|(_, ids)| !ids.is_empty())
        .collect();
    Ok(Forgotten { attempts: theirs.len() as u64, delivered, overwritten: false })
}
