//! Event ids by a part of them: nobody types 36 characters, and a narrow table has no room for them.

use rusqlite::Connection;
use uuid::Uuid;

use crate::ledger::{claim::find_seq, ids};

/// Fewer hexadecimal digits are no attempt's.
const LEAST: usize = 4;
/// How many ids are given of those that match.
const SHOWN: usize = 3;

/// The attempts that a part of an event id may mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// How many there are.
    pub count: u64,
    /// The first three of them.
    pub ids: Vec<Uuid>,
}

/// The attempts whose event id is `part`, or begins or ends with it; `None` if it can be no part of one. A whole id is
/// looked up, for a part all facts are read.
pub(super) fn find(conn: &Connection, part: &str) -> rusqlite::Result<Option<Found>> {
    let digits: String = part.chars().filter(|c| !matches!(c, '-' | '…')).collect();
    if !(LEAST..=32).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let Ok(value) = u128::from_str_radix(&digits, 16) else { return Ok(None) };
    if digits.len() == 32 {
        let id = Uuid::from_u128(value);
        let ids: Vec<_> = find_seq(conn, id)?.map(|_| id).into_iter().collect();
        return Ok(Some(Found { count: u64::from(!ids.is_empty()), ids }));
    }
    let rest = 128 - 4 * digits.len();
    let masks = [(u128::MAX << rest, value << rest), (u128::MAX >> rest, value)];
    let values = masks.into_iter().flat_map(|(mask, value)| {
        let ((mask_hi, mask_lo), (hi, lo)) =
            (ids::halves(Uuid::from_u128(mask)), ids::halves(Uuid::from_u128(value)));
        [mask_hi, hi, mask_lo, lo]
    });
    let mut statement = conn.prepare(
        "SELECT id_hi, id_lo FROM facts WHERE (id_hi & ? = ? AND id_lo & ? = ?) OR (id_hi & ? = ? AND id_lo & ? = ?)",
    )?;
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    let mut found = Found::default();
    while let Some(row) = rows.next()? {
        found.count += 1;
        if found.ids.len() < SHOWN {
            found.ids.push(ids::join(row.get(0)?, row.get(1)?));
        }
    }
    Ok(Some(found))
}
