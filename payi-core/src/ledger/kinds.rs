//! What rollups split spend by besides users and accounts, as two small dictionaries: what a call was for, and
//! how it was made and ended.
//!
//! Two instead of one: with many models and many use cases their combinations would be many more than the sum of
//! both. Entries are only ever added, by folds.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use crate::{
    events::Outcome,
    ledger::stored::{outcome, source},
    pricing::CostSource,
};

/// What a call was for, in dictionary ids; 0 is none, no version is -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct What {
    pub(crate) use_case: i64,
    pub(crate) version: i64,
    pub(crate) step: i64,
}

/// Who answered, and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct How {
    pub(crate) provider: i64,
    pub(crate) model: i64,
    pub(crate) outcome: Outcome,
    pub(crate) error: i64,
    pub(crate) source: CostSource,
    /// Something was used, and nobody knows what it cost.
    pub(crate) unpriced: bool,
}

impl What {
    pub(crate) const NONE: Self = Self { use_case: 0, version: -1, step: 0 };
}

impl How {
    /// The same without who answered: what the rollup of users is split by.
    pub(crate) fn ending(self) -> Self {
        Self { provider: 0, model: 0, error: 0, ..self }
    }

    const fn key(self) -> [i64; 6] {
        [self.provider, self.model, self.outcome as i64, self.error, self.source as i64, self.unpriced as i64]
    }
}

/// Both dictionaries, by their ids. Id 0 stands for "not split by it".
#[derive(Debug)]
pub(crate) struct Kinds {
    pub(crate) whats: Vec<What>,
    pub(crate) hows: Vec<How>,
}

/// Ids of the file's entries, so many in front that a hostile file cannot ask for all memory.
const MOST: usize = 1 << 24;

impl Kinds {
    pub(crate) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let nothing = How {
            provider: 0,
            model: 0,
            outcome: Outcome::Ok,
            error: 0,
            source: CostSource::Computed,
            unpriced: false,
        };
        let mut kinds = Self { whats: vec![What::NONE], hows: vec![nothing] };
        let mut statement = conn.prepare("SELECT id, use_case, version, step FROM whats ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let what = What { use_case: row.get(1)?, version: row.get(2)?, step: row.get(3)? };
            put(&mut kinds.whats, row.get(0)?, what, What::NONE);
        }
        let mut statement = conn
            .prepare("SELECT id, provider, model, outcome, error, source, unpriced FROM hows ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let how = How {
                provider: row.get(1)?,
                model: row.get(2)?,
                outcome: outcome(row.get(3)?),
                error: row.get(4)?,
                source: source(row.get(5)?),
                unpriced: row.get(6)?,
            };
            put(&mut kinds.hows, row.get(0)?, how, nothing);
        }
        Ok(kinds)
    }
}

fn put<T: Copy>(list: &mut Vec<T>, id: i64, entry: T, gap: T) {
    let Some(at) = usize::try_from(id).ok().filter(|&at| at < MOST) else { return };
    if at >= list.len() {
        list.resize(at + 1, gap);
    }
    list[at] = entry;
}

/// The dictionaries with a way to add to them. What is added is written by [`Interner::write`], in the
/// transaction that writes the cells which name it.
#[derive(Debug)]
pub(crate) struct Interner {
    pub(crate) kinds: Kinds,
    whats: HashMap<What, i64>,
    hows: HashMap<How, i64>,
    /// How many there were in the file.
    known: (usize, usize),
}

impl Interner {
    pub(crate) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let kinds = Kinds::load(conn)?;
        let known = (kinds.whats.len(), kinds.hows.len());
        let whats = (0_i64..).zip(&kinds.whats).skip(1).map(|(id, &what)| (what, id)).collect();
        let hows = (0_i64..).zip(&kinds.hows).skip(1).map(|(id, &how)| (how, id)).collect();
        Ok(Self { kinds, whats, hows, known })
    }

    pub(crate) fn what(&mut self, what: What) -> i64 {
        *self.whats.entry(what).or_insert_with(|| add(&mut self.kinds.whats, what))
    }

    pub(crate) fn how(&mut self, how: How) -> i64 {
        *self.hows.entry(how).or_insert_with(|| add(&mut self.kinds.hows, how))
    }

    /// Writes what is new. The file must have nothing that it had not when this was loaded.
    pub(crate) fn write(&self, conn: &Connection) -> rusqlite::Result<()> {
        let mut insert =
            conn.prepare("INSERT INTO whats(id, use_case, version, step) VALUES(?1, ?2, ?3, ?4)")?;
        for (id, what) in (0_i64..).zip(&self.kinds.whats).skip(self.known.0) {
            insert.execute([id, what.use_case, what.version, what.step])?;
        }
        let mut insert = conn.prepare(
            "INSERT INTO hows(id, provider, model, outcome, error, source, unpriced)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        for (id, how) in (0_i64..).zip(&self.kinds.hows).skip(self.known.1) {
            let [provider, model, outcome, error, source, unpriced] = how.key();
            insert.execute(params![id, provider, model, outcome, error, source, unpriced])?;
        }
        Ok(())
    }
}

fn add<T>(list: &mut Vec<T>, entry: T) -> i64 {
    list.push(entry);
    i64::try_from(list.len() - 1).unwrap_or(0)
}
