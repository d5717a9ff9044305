//! The options of reports: one set of conditions for all of them.

use std::time::SystemTime;

use clap::{
    Args as Arguments, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use jiff::tz::TimeZone;
use payi_core::{
    events::Outcome,
    ledger::read::{Dimension, Order, Pick, Query, RequestOrder},
    pricing::CostSource,
};

use crate::{
    args::{Book, File},
    output::columns::Format,
    when::When,
};

/// Where the figures are.
#[derive(Debug, Arguments)]
pub(crate) struct Source {
    #[command(flatten)]
    pub(crate) file: File,
    /// Asks a `payi serve` instead of a file, such as http://127.0.0.1:8377.
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
}

/// Spend by one dimension, or several.
#[derive(Debug, Arguments)]
pub(crate) struct Spend {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) narrow: Conditions,
    /// What rows are made of, up to four.
    #[arg(long, value_parser = part(), value_delimiter = ',', value_name = "NAMES")]
    group_by: Vec<Dimension>,
    /// Splits rows by model too.
    #[arg(long)]
    breakdown: bool,
    /// The order of the rows.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sort: Ranked,
    /// Turns the order round.
    #[arg(long)]
    pub(crate) reverse: bool,
    /// At most so many rows; the total has all.
    #[arg(long, visible_alias = "top", value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

impl Spend {
    /// What rows are made of: `usual`, unless asked otherwise.
    pub(crate) fn dimensions(&self, usual: &[Dimension]) -> Vec<Dimension> {
        let mut by = if self.group_by.is_empty() { usual.to_vec() } else { self.group_by.clone() };
        if self.breakdown && !by.contains(&Dimension::Model) {
            by.push(Dimension::Model);
        }
        by.truncate(4);
        by
    }
}

/// Two ranges: the last seven days and the seven before them, unless asked otherwise.
#[derive(Debug, Arguments)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) narrow: Conditions,
    /// Where the range to compare with begins; it is as long as the other. The one before it, if not given.
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    pub(crate) against: Option<When>,
    /// What rows are made of, up to four.
    #[arg(
        long,
        value_parser = part(),
        value_delimiter = ',',
        value_name = "NAMES",
        default_value = "user"
    )]
    pub(crate) group_by: Vec<Dimension>,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// A list of attempts.
#[derive(Debug, Arguments)]
pub(crate) struct Calls {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) narrow: Conditions,
    /// The order of the rows.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sort: CallsBy,
    /// Turns the order round.
    #[arg(long)]
    pub(crate) reverse: bool,
    /// At most so many rows.
    #[arg(long, visible_alias = "top", value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// One attempt.
#[derive(Debug, Arguments)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The call's event id, as `payi calls` lists it; how it begins or ends is enough where no other does.
    pub(crate) call: String,
    #[command(flatten)]
    pub(crate) book: Book,
}

/// What a report covers.
#[derive(Debug, Arguments)]
pub(crate) struct Conditions {
    /// Only calls begun then or later: a day (2026-11-23), a time (2026-11-23T14:00:00Z), an age (90m, 24h, 7d)
    /// or `today`.
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    pub(crate) since: Option<When>,
    /// Only calls begun before then.
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    pub(crate) until: Option<When>,
    /// Where days begin and times are told, such as Europe/Berlin; JSON and CSV keep to UTC.
    #[arg(long, value_name = "ZONE", value_parser = zone, default_value = "UTC")]
    timezone: TimeZone,
    /// Only this user.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only calls that were made for nobody.
    #[arg(long, conflicts_with = "user")]
    unattributed: bool,
    /// Only this account.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only this use case.
    #[arg(long, value_name = "NAME")]
    use_case: Option<String>,
    /// Only this model.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only this provider.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Only attempts that ended so.
    #[arg(long, value_name = "NAME", value_parser = outcome())]
    outcome: Option<String>,
    /// Only attempts whose cost comes from there.
    #[arg(long, value_name = "NAME", value_parser = source())]
    cost_source: Option<CostSource>,
    /// Only rows with a name that contains this.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    search: String,
}

impl Conditions {
    /// The zone, and the query at the moment `now`.
    pub(crate) fn query(&self, now: SystemTime) -> (&TimeZone, Query) {
        let mut query = Query::default();
        query.since = self.since.map(|at| at.resolve(&self.timezone, now));
        query.until = self.until.map(|at| at.resolve(&self.timezone, now));
        query.source = self.cost_source;
        query.search.clone_from(&self.search);
        let picks = [
            (Dimension::User, &self.user),
            (Dimension::Account, &self.account),
            (Dimension::UseCase, &self.use_case),
            (Dimension::Model, &self.model),
            (Dimension::Provider, &self.provider),
            (Dimension::Outcome, &self.outcome),
        ];
        query.picks = picks.into_iter().filter_map(|(d, v)| Some((d, Pick::Is(v.clone()?)))).collect();
        if self.unattributed {
            query.picks.push((Dimension::User, Pick::Missing));
        }
        (&self.timezone, query)
    }

    /// Whether calls of some user, account, use case, model and so on are left out.
    pub(crate) const fn leaves_out(query: &Query) -> bool {
        !query.picks.is_empty() || query.source.is_some() || !query.search.is_empty()
    }
}

fn zone(name: &str) -> Result<TimeZone, String> {
    crate::server::zone(name).ok_or_else(|| "name a zone of the IANA database, such as Europe/Berlin".into())
}

/// What rows may be made of, as it is said here.
const PARTS: [(&str, Dimension); 9] = [
    ("user", Dimension::User),
    ("account", Dimension::Account),
    ("use-case", Dimension::UseCase),
    ("version", Dimension::Version),
    ("step", Dimension::Step),
    ("provider", Dimension::Provider),
    ("model", Dimension::Model),
    ("outcome", Dimension::Outcome),
    ("error", Dimension::Error),
];

fn part() -> impl TypedValueParser<Value = Dimension> {
    let names = PossibleValuesParser::new(PARTS.map(|(name, _)| name));
    names.try_map(|text| {
        PARTS.iter().find(|(name, _)| *name == text).map(|(_, part)| *part).ok_or("no such part of a row")
    })
}

fn outcome() -> PossibleValuesParser {
    PossibleValuesParser::new(Outcome::ALL.map(Outcome::name))
}

fn source() -> impl TypedValueParser<Value = CostSource> {
    let names = PossibleValuesParser::new(CostSource::ALL.map(CostSource::name));
    names.try_map(|text| CostSource::ALL.into_iter().find(|s| s.name() == text).ok_or("no such source"))
}

/// The order of a report's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ranked {
    /// Most expensive first.
    #[default]
    Cost,
    /// Most calls first.
    Calls,
    /// Most calls that did not end well first.
    Failed,
    /// Most tokens first.
    Tokens,
    /// Latest first.
    LastSeen,
    /// By name.
    #[value(alias = "user")]
    Name,
}

impl From<Ranked> for Order {
    fn from(by: Ranked) -> Self {
        match by {
            Ranked::Cost => Self::Cost,
            Ranked::Calls => Self::Calls,
            Ranked::Failed => Self::Failed,
            Ranked::Tokens => Self::Tokens,
            Ranked::LastSeen => Self::LastSeen,
            Ranked::Name => Self::Name,
        }
    }
}

/// The order of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CallsBy {
    /// Newest first.
    #[default]
    Time,
    /// Most expensive first.
    Cost,
    /// Slowest first.
    Latency,
    /// Most tokens first.
    Tokens,
}

impl From<CallsBy> for RequestOrder {
    fn from(by: CallsBy) -> Self {
        match by {
            CallsBy::Time => Self::Time,
            CallsBy::Cost => Self::Cost,
            CallsBy::Latency => Self::Latency,
            CallsBy::Tokens => Self::Tokens,
        }
    }
}
