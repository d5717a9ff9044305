//! What a report asks for: a range, conditions on dimensions, and the dimensions its rows are made of.

use std::{collections::HashSet, time::SystemTime};

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    events::Outcome,
    ledger::{
        fold::{Cube, unpack::Columns},
        kinds::{How, What},
        read::scan::{Entry, Scope},
        rows::micros,
        schema::TextKind,
    },
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

    pub(super) fn of(self, entry: &Entry<'_>) -> i64 {
        match self {
            Self::User => entry.user,
            Self::Account => entry.account,
            Self::UseCase | Self::Version | Self::Step => self.of_what(*entry.what),
            Self::Provider | Self::Model | Self::Outcome | Self::Error => self.of_how(*entry.how),
        }
    }

    fn of_what(self, what: What) -> i64 {
        match self {
            Self::UseCase => what.use_case,
            Self::Version => what.version,
            _ => what.step,
        }
    }

    fn of_how(self, how: How) -> i64 {
        match self {
            Self::Provider => how.provider,
            Self::Model => how.model,
            Self::Outcome => how.outcome as i64,
            _ => how.error,
        }
    }

    const fn is_person(self) -> bool {
        matches!(self, Self::User | Self::Account)
    }

    const fn is_what(self) -> bool {
        matches!(self, Self::UseCase | Self::Version | Self::Step)
    }

    /// The name behind a number of this dimension.
    pub(super) fn label(self, conn: &Connection, id: i64) -> rusqlite::Result<Option<String>> {
        if self.is_text() { super::name(conn, id) } else { Ok(self.spelled(id)) }
    }

    /// Whether its names are in the dictionary.
    pub(super) fn is_text(self) -> bool {
        self.kind().is_some()
    }

    /// The name behind a number of a dimension whose names are not in the dictionary.
    pub(super) fn spelled(self, id: i64) -> Option<String> {
        match self {
            Self::Outcome => {
                usize::try_from(id).ok().and_then(|i| Outcome::ALL.get(i)).map(|o| o.name().into())
            }
            _ => (id >= 0).then(|| id.to_string()),
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
    pub(super) fn containing(self, conn: &Connection, text: &str) -> rusqlite::Result<HashSet<i64>> {
        let Some(kind) = self.kind() else {
            let text = text.to_ascii_lowercase();
            let outcomes = (0_i64..).zip(Outcome::ALL).filter(|(_, outcome)| outcome.name().contains(&text));
            return Ok(match self {
                Self::Outcome => outcomes.map(|(id, _)| id).collect(),
                _ => self.number(conn, &text)?.into_iter().collect(),
            });
        };
        conn.prepare("SELECT id FROM dict WHERE kind = ?1 AND text LIKE ?2 ESCAPE '\\'")?
            .query_map(params![kind as u8, part(text)], |row| row.get(0))?
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

/// What `LIKE` takes for any text that contains this one, where a backslash escapes.
pub(super) fn part(text: &str) -> String {
    format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
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
    /// Most failed calls first; calls that were aborted, blocked or abandoned did not fail.
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

/// Names that make up a row, by their numbers.
pub(super) type Key = [i64; 4];

/// A query in the ledger's own numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(super) since_us: i64,
    pub(super) until_us: i64,
    /// Where the range before begins; `since_us` if none is wanted.
    pub(super) before_us: i64,
    pub(super) by: Vec<Dimension>,
    picks: Vec<(Dimension, i64)>,
    /// The user among the picks, as a list of one.
    user: Option<[i64; 1]>,
    source: Option<CostSource>,
    search: Option<Vec<(Dimension, HashSet<i64>)>>,
}

impl Plan {
    /// Everything, in one row.
    pub(crate) fn all() -> Self {
        Self { until_us: i64::MAX, ..Self::default() }
    }

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
        let user = picks.iter().find(|(dimension, _)| *dimension == Dimension::User).map(|&(_, user)| [user]);
        Ok(Some(Self { since_us, until_us, before_us, by, picks, user, source: query.source, search }))
    }

    /// The same split by one dimension, in this range, compared with nothing.
    pub(super) fn only(self, dimension: Dimension, (since_us, until_us): (i64, i64)) -> Self {
        let since_us = self.since_us.max(since_us);
        let until_us = self.until_us.min(until_us);
        Self { by: vec![dimension], since_us, before_us: since_us, until_us, ..self }
    }

    /// Whether it reads the same, however it is split.
    pub(super) fn reads_as(&self, other: &Self) -> bool {
        let bare = |plan: &Self| Self { by: Vec::new(), ..plan.clone() };
        self.cube(&self.by, false) == other.cube(&other.by, false) && bare(self) == bare(other)
    }

    /// Whether it covers the same range by the same conditions, however it is split and whatever it is compared with.
    pub(super) fn covers_as(&self, other: &Self) -> bool {
        let bare = |plan: &Self| Self { by: Vec::new(), before_us: 0, ..plan.clone() };
        bare(self) == bare(other)
    }

    pub(super) fn wants_what(&self, what: What) -> bool {
        self.picks
            .iter()
            .all(|&(dimension, wanted)| !dimension.is_what() || dimension.of_what(what) == wanted)
    }

    pub(super) fn wants_how(&self, how: How) -> bool {
        self.picks.iter().all(|&(dimension, wanted)| {
            dimension.is_person() || dimension.is_what() || dimension.of_how(how) == wanted
        }) && self
            .source
            .is_none_or(|source| how.source == source && (source != CostSource::Unpriced || how.unpriced))
    }

    /// Whether [`Plan::wants_person`] or [`Plan::finds`] can say no.
    pub(super) fn asks(&self) -> bool {
        self.search.is_some() || self.picks.iter().any(|(dimension, _)| dimension.is_person())
    }

    pub(super) fn wants_person(&self, user: i64, account: i64) -> bool {
        self.picks.iter().all(|&(dimension, wanted)| match dimension {
            Dimension::User => user == wanted,
            Dimension::Account => account == wanted,
            _ => true,
        })
    }

    /// Whether the search finds it.
    pub(super) fn finds(&self, entry: &Entry<'_>) -> bool {
        self.search.as_ref().is_none_or(|any| any.iter().any(|(d, ids)| ids.contains(&d.of(entry))))
    }

    /// The one user who is asked for.
    pub(super) fn user(&self) -> Option<&[i64]> {
        self.user.as_ref().map(<[i64; 1]>::as_slice)
    }

    #[inline]
    pub(super) fn key(&self, entry: &Entry<'_>) -> Key {
        let mut key = [0; 4];
        for (id, dimension) in key.iter_mut().zip(&self.by) {
            *id = dimension.of(entry);
        }
        key
    }

    /// The users of rows, in order, if rows are of users.
    pub(super) fn users(&self, keys: &[Key]) -> Option<Vec<i64>> {
        let at = self.by.iter().position(|d| *d == Dimension::User)?;
        let mut users: Vec<i64> = keys.iter().map(|key| key[at]).collect();
        users.sort_unstable();
        users.dedup();
        Some(users)
    }

    /// Both ranges, with nothing that spans the moment between them.
    pub(super) fn scope(&self, cube: Cube) -> Scope<'_> {
        Scope {
            plan: self,
            from_us: self.before_us,
            to_us: self.until_us,
            cuts: vec![self.since_us],
            users: None,
            cube,
            columns: Columns { sketches: false, ..Columns::ALL },
        }
    }

    /// The coarsest rollup that splits by `by` and by the conditions, and has details if they are wanted.
    pub(super) fn cube(&self, by: &[Dimension], details: bool) -> Cube {
        let search = self.search.iter().flatten().map(|(dimension, _)| *dimension);
        let picks = self.picks.iter().map(|(dimension, _)| *dimension);
        let mut split = by.iter().copied().chain(picks).chain(search);
        if !split.clone().any(Dimension::is_person) {
            Cube::Days
        } else if details || split.any(|d| !d.is_person() && d != Dimension::Outcome) {
            Cube::Full
        } else {
            Cube::Users
        }
    }
}
