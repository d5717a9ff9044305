//! What a report asks for: a range, conditions on dimensions, and the dimensions its rows are made of.

use std::{collections::HashSet, time::SystemTime};

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    events::Outcome,
    ledger::{read::wide::Wide, rows::micros, schema::TextKind},
    pricing::CostSource,
};

/// What spend can be split by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Dimension {
    /// The user a call was made for.
    User,
    /// The user's account.
    Account,
    /// What the call was for.
    UseCase,
    /// The use case's version.
    Version,
    /// The step within the use case.
    Step,
    /// The provider.
    Provider,
    /// The model that answered, or if none answered, the one asked for.
    Model,
    /// How the attempt ended.
    Outcome,
    /// What failed, by a short code.
    Error,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::User,
        Self::Account,
        Self::UseCase,
        Self::Version,
        Self::Step,
        Self::Provider,
        Self::Model,
        Self::Outcome,
        Self::Error,
    ];

    /// Its name in columns, JSON and addresses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user_id",
            Self::Account => "account_name",
            Self::UseCase => "use_case_name",
            Self::Version => "use_case_version",
            Self::Step => "use_case_step",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Outcome => "outcome",
            Self::Error => "error",
        }
    }

    fn kind(self) -> Option<TextKind> {
        Some(match self {
            Self::User => TextKind::User,
            Self::Account => TextKind::Account,
            Self::UseCase => TextKind::UseCase,
            Self::Step => TextKind::Step,
            Self::Provider => TextKind::Provider,
            Self::Model => TextKind::Model,
            Self::Error => TextKind::Error,
            Self::Version | Self::Outcome => return None,
        })
    }

    /// The code of its texts in the dictionary.
    pub(super) fn code(self) -> i64 {
        self.kind().map_or(-1, |kind| i64::from(kind as u8))
    }

    /// The number that stands for "none".
    pub(super) const fn none(self) -> i64 {
        match self {
            Self::Version | Self::Outcome => -1,
            _ => 0,
        }
    }

    pub(super) fn of(self, fact: &Wide) -> i64 {
        match self {
            Self::User => fact.user,
            Self::Account => fact.account,
            Self::UseCase => fact.use_case,
            Self::Version => fact.version,
            Self::Step => fact.step,
            Self::Provider => fact.provider,
            Self::Model => fact.model,
            Self::Outcome => fact.outcome as i64,
            Self::Error => fact.error,
        }
    }

    /// The name behind a number of this dimension.
    pub(super) fn label(self, conn: &Connection, id: i64) -> rusqlite::Result<Option<String>> {
        match self {
            Self::Version => Ok((id >= 0).then(|| id.to_string())),
            Self::Outcome => {
                Ok(usize::try_from(id).ok().and_then(|i| Outcome::ALL.get(i)).map(|o| o.name().into()))
            }
            _ => super::name(conn, id),
        }
    }

    fn number(self, conn: &Connection, text: &str) -> rusqlite::Result<Option<i64>> {
        let Some(kind) = self.kind() else {
            return Ok(match self {
                Self::Version => text.parse::<u32>().ok().map(i64::from),
                _ => Outcome::ALL.iter().position(|o| o.name() == text).and_then(|i| i64::try_from(i).ok()),
            });
        };
        conn.prepare("SELECT id FROM dict WHERE kind = ?1 AND text = ?2")?
            .query_row(params![kind as u8, text], |row| row.get(0))
            .optional()
    }

    /// The numbers of all names that contain `text`, letter case of ASCII aside.
    fn containing(self, conn: &Connection, text: &str) -> rusqlite::Result<HashSet<i64>> {
        let Some(kind) = self.kind() else {
            return Ok(self.number(conn, text)?.into_iter().collect());
        };
        let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        conn.prepare("SELECT id FROM dict WHERE kind = ?1 AND text LIKE ?2 ESCAPE '\\'")?
            .query_map(params![kind as u8, format!("%{escaped}%")], |row| row.get(0))?
            .collect()
    }

    /// Up to `most` names this dimension has, A to Z.
    pub(super) fn names(self, conn: &Connection, most: u32) -> rusqlite::Result<Vec<String>> {
        let Some(kind) = self.kind() else {
            return Ok(match self {
                Self::Outcome => Outcome::ALL.iter().map(|o| o.name().into()).collect(),
                _ => Vec::new(),
            });
        };
        conn.prepare("SELECT text FROM dict WHERE kind = ?1 AND text IS NOT NULL ORDER BY text LIMIT ?2")?
            .query_map(params![kind as u8, most], |row| row.get(0))?
            .collect()
    }
}

/// A condition on one dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pick {
    /// Exactly this name.
    Is(String),
    /// None was given.
    Missing,
}

/// What a report covers and how it is split. Everything, as one row, unless narrowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query {
    /// Only attempts that began then or later.
    pub since: Option<SystemTime>,
    /// Only attempts that began before then.
    pub until: Option<SystemTime>,
    /// All of these must hold.
    pub picks: Vec<(Dimension, Pick)>,
    /// Only attempts whose cost comes from there.
    pub source: Option<CostSource>,
    /// What rows are made of; the first four count.
    pub by: Vec<Dimension>,
    /// Only rows where a name contains this.
    pub search: String,
    /// The order of the rows.
    pub order: Order,
    /// Turns the order round.
    pub reverse: bool,
    /// Rows to leave out at the front.
    pub offset: usize,
    /// Rows to return; all, if `None`.
    pub limit: Option<usize>,
    /// Compares with the range of the same length before this one.
    pub compare: bool,
}

/// The order of a report's rows, its natural direction first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Most expensive first.
    #[default]
    Cost,
    /// The largest rise in cost against the range before first.
    Change,
    /// Most calls first.
    Calls,
    /// Most calls that did not end well first.
    Failed,
    /// Most tokens first.
    Tokens,
    /// The largest cost per call first.
    CostPerCall,
    /// Latest first.
    LastSeen,
    /// Newest first.
    FirstSeen,
    /// By the names of the row, A to Z.
    Name,
}

/// A query in the ledger's own numbers.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) since_us: i64,
    pub(super) until_us: i64,
    /// Where the range before begins; `since_us` if none is wanted.
    pub(super) before_us: i64,
    pub(super) by: Vec<Dimension>,
    picks: Vec<(Dimension, i64)>,
    source: Option<CostSource>,
    search: Option<Vec<(Dimension, HashSet<i64>)>>,
}

impl Plan {
    /// `None` if a name of the query is not in the ledger: then nothing matches.
    pub(super) fn of(conn: &Connection, query: &Query) -> rusqlite::Result<Option<Self>> {
        let mut picks = Vec::new();
        for (dimension, pick) in &query.picks {
            let wanted = match pick {
                Pick::Missing => Some(dimension.none()),
                Pick::Is(text) => dimension.number(conn, text)?,
            };
            let Some(wanted) = wanted else { return Ok(None) };
            picks.push((*dimension, wanted));
        }
        let by: Vec<_> = query.by.iter().copied().take(4).collect();
        let search = if query.search.is_empty() {
            None
        } else {
            let found = by.iter().map(|&d| Ok((d, d.containing(conn, &query.search)?)));
            Some(found.collect::<rusqlite::Result<Vec<_>>>()?)
        };
        let since_us = query.since.map_or(0, micros);
        let until_us = query.until.map_or(i64::MAX, micros);
        let length = until_us.saturating_sub(since_us);
        let bounded = query.since.is_some() && query.until.is_some();
        let before_us = if query.compare && bounded { since_us.saturating_sub(length) } else { since_us };
        Ok(Some(Self { since_us, until_us, before_us, by, picks, source: query.source, search }))
    }

    /// Whether a fact of any time is asked for.
    pub(super) fn wants(&self, fact: &Wide) -> bool {
        self.picks.iter().all(|&(dimension, wanted)| dimension.of(fact) == wanted)
            && self.source.is_none_or(|source| {
                fact.source == source && (source != CostSource::Unpriced || fact.unpriced)
            })
            && self.search.as_ref().is_none_or(|any| any.iter().any(|(d, ids)| ids.contains(&d.of(fact))))
    }

    pub(super) fn key(&self, fact: &Wide) -> [i64; 4] {
        let mut key = [0; 4];
        for (id, dimension) in key.iter_mut().zip(&self.by) {
            *id = dimension.of(fact);
        }
        key
    }
}
