//! `payi limits`: budgets and rate limits from the command line.
//!
//! Exit codes, for scripts: 0 all is well; 1 a limit is at its maximum or over it, or something failed; 2 the command
//! was misused; 3 a limit has reached its threshold (of `status`).

use std::{io::Write, sync::Arc};

use clap::{Args as Arguments, Subcommand, ValueEnum};
use payi_core::{
    ledger::LedgerStore,
    limits::{
        Definition, Kind, Limit, LimitState, Limits, Measure, Policy, Scope, Standing, Subject, Window,
    },
    money::Money,
};
use serde_json::{Value, json};

use crate::{
    Failure, Terminal,
    args::File,
    output::{
        columns::{Column, Format, Table},
        plural,
    },
};

#[derive(Debug, Subcommand)]
pub(crate) enum LimitsCommand {
    /// How each limit stands; exit code 1 if one is at its maximum, 3 if one has reached its threshold.
    Status(Status),
    /// Makes a limit, or changes what is given of the one of its id. What it counted so far stays, unless it now counts
    /// something else, by others or over another time.
    Set(Set),
    /// Another maximum for one user, account or use case.
    Override {
        #[command(flatten)]
        file: File,
        /// The limit.
        id: String,
        /// Whose.
        #[arg(value_name = "NAME")]
        subject: String,
        /// The account that the user belongs to.
        #[arg(long, value_name = "NAME", default_value = "")]
        account: String,
        /// The maximum, in the limit's unit; none takes the override away.
        #[arg(long, value_name = "AMOUNT")]
        max: Option<String>,
    },
    /// Starts a limit anew; what it had come to is kept as history.
    Reset {
        #[command(flatten)]
        file: File,
        /// The limit.
        id: String,
    },
    /// What a limit had come to at each of its resets.
    History {
        #[command(flatten)]
        file: File,
        /// The limit.
        id: String,
    },
    /// Removes a limit with its counters.
    Delete {
        #[command(flatten)]
        file: File,
        /// The limit.
        id: String,
    },
}

#[derive(Debug, Arguments)]
pub(crate) struct Status {
    #[command(flatten)]
    file: File,
    /// Only this limit, with its counters one by one.
    id: Option<String>,
    /// At most so many counters of it.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Whose calls a limit counts together.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Each {
    /// Those of calls that name it.
    Attached,
    /// Each user's.
    User,
    /// Each account's.
    Account,
    /// Each use case's.
    UseCase,
    /// Everybody's.
    Everyone,
}

/// What is done with a call whose cost has no upper bound.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    /// It is refused: the limit is never overspent.
    Strict,
    /// A usual call is reserved for it.
    Estimate,
    /// The request is given a maximum that is left.
    InjectMaxTokens,
}

#[derive(Debug, Arguments)]
#[group(id = "what", multiple = false, args = ["usd", "calls", "tokens", "concurrent"])]
pub(crate) struct Set {
    #[command(flatten)]
    file: File,
    /// The limit's id.
    id: String,
    /// At most so many US dollars.
    #[arg(long, value_name = "USD")]
    usd: Option<Money>,
    /// At most so many calls.
    #[arg(long, value_name = "N")]
    calls: Option<u64>,
    /// At most so many tokens, in and out.
    #[arg(long, value_name = "N")]
    tokens: Option<u64>,
    /// At most so many calls at the same time.
    #[arg(long, value_name = "N")]
    concurrent: Option<u64>,
    /// Refuses nothing: what goes over is counted and told.
    #[arg(long)]
    allow: bool,
    /// Refuses what does not fit, as a new limit does.
    #[arg(long, conflicts_with = "allow")]
    block: bool,
    /// Whose calls are counted together; of a new limit, those that name it.
    #[arg(long, value_enum)]
    each: Option<Each>,
    /// Over which time: lifetime (of a new limit), day, week, month (of a zone: month:Europe/Berlin), rolling:24h,
    /// rate:1m.
    #[arg(long, value_parser = Window::parse)]
    per: Option<Window>,
    /// From this percentage of the maximum on it counts as exceeded (75 to 99); 0 for none.
    #[arg(long, value_name = "PERCENT")]
    threshold: Option<u8>,
    /// What is done with a call whose cost has no upper bound; of a new limit, estimate.
    #[arg(long, value_enum)]
    policy: Option<How>,
    /// A name for people.
    #[arg(long)]
    name: Option<String>,
}

pub(crate) fn run(
    command: &LimitsCommand,
    terminal: Option<Terminal>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match command {
        LimitsCommand::Status(status) => return status.run(terminal, out),
        LimitsCommand::Set(set) => {
            let limits = of(&set.file)?;
            let definition = limits.change(&set.id, |old| set.over(old.map(|old| &*old.limit)))?;
            writeln!(out, "{}", describe(&definition.limit))?;
        }
        LimitsCommand::Override { file, id, subject, account, max } => {
            let whose = Subject::new(subject, account);
            let definition = of(file)?.change::<Failure>(id, |old| {
                let mut limit = Limit::clone(&old.ok_or_else(|| none(id))?.limit);
                if !limit.counts_apart(&whose) {
                    return Err(Failure::Misuse(match limit.scope {
                        Scope::Attached | Scope::Everyone => {
                            format!(
                                "{id} counts {} together: nobody has a maximum of his own there",
                                scope(limit.scope)
                            )
                        }
                        each => format!("{id} counts {}: --account is for limits of each user", scope(each)),
                    }));
                }
                match max {
                    Some(max) => drop(limit.overrides.insert(whose.clone(), amount(&limit, max)?)),
                    None => drop(limit.overrides.remove(&whose)),
                }
                Ok(limit)
            })?;
            let limit = &definition.limit;
            let of = match (&**account, limit.scope) {
                ("", Scope::EachUser) => " of no account (--account names one)".to_owned(),
                ("", _) => String::new(),
                (account, _) => format!(" of {account}"),
            };
            match limit.overrides.get(&whose) {
                Some(max) => writeln!(out, "{id}: {} for {subject}{of}", unit(limit, *max))?,
                None => writeln!(out, "{id}: {} for {subject}{of}, as for others", unit(limit, limit.max))?,
            }
        }
        LimitsCommand::Reset { file, id } => {
            let history = of(file)?.reset(id, None)?.ok_or_else(|| none(id))?;
            writeln!(
                out,
                "{id}: starts anew; it had come to {}",
                history.limit.measure.show(history.settled)
            )?;
        }
        LimitsCommand::History { file, id } => {
            for history in LedgerStore::new(file.read()?).history(id)? {
                let at = jiff::Timestamp::from_microsecond(history.reset_us).unwrap_or_default();
                let (limit, tally) = (&history.limit, history.tally);
                writeln!(
                    out,
                    "{at:.0}  {} of {}, {} over; {}, {} refused",
                    limit.show(history.settled),
                    limit.show(limit.max),
                    limit.show(history.overrun),
                    plural(tally.total(), "call"),
                    tally.of(LimitState::Blocked)
                )?;
            }
        }
        LimitsCommand::Delete { file, id } => {
            if !of(file)?.delete(id)? {
                return Err(none(id));
            }
            writeln!(out, "{id}: deleted, with its counters")?;
        }
    }
    Ok(out.flush()?)
}

/// The limits of a ledger that may be written.
fn of(file: &File) -> Result<Limits, Failure> {
    Ok(Limits::of(Arc::new(LedgerStore::new(file.write()?))))
}

fn none(id: &str) -> Failure {
    Failure::Misuse(format!("there is no limit {id}; `payi limits status` lists those there are"))
}

fn find(limits: &Limits, id: &str) -> Result<Definition, Failure> {
    limits.get(id)?.ok_or_else(|| none(id))
}

/// An amount as people write it: dollars, or a count.
fn amount(limit: &Limit, text: &str) -> Result<i128, Failure> {
    let read = match limit.max_usd() {
        Some(_) => text.parse::<Money>().ok().map(Money::pico),
        None => text.parse::<u64>().ok().map(i128::from),
    };
    read.ok_or_else(|| Failure::Misuse(format!("{text:?} is no amount of the limit {}", limit.id)))
}

impl Set {
    /// The limit that counts what is given, as far as that is; `None` if no maximum is.
    fn made(&self) -> Option<Limit> {
        let id = self.id.as_str();
        match (self.usd, self.calls, self.tokens, self.concurrent) {
            (Some(usd), ..) => Some(Limit::block(id, usd)),
            (_, Some(calls), ..) => Some(Limit::calls(id, calls)),
            (_, _, Some(tokens), _) => Some(Limit::tokens(id, tokens)),
            (.., concurrent) => concurrent.map(|calls| Limit::concurrent(id, calls)),
        }
    }

    /// What is given, over what the limit says so far.
    fn over(&self, old: Option<&Limit>) -> Result<Limit, Failure> {
        let new = self.made();
        let mut limit = old.cloned().or_else(|| new.clone()).ok_or_else(|| {
            Failure::Misuse(format!(
                "there is no limit {} yet; give a new one its maximum: --usd, --calls, --tokens or --concurrent",
                self.id
            ))
        })?;
        if let Some(new) = new {
            (limit.max, limit.measure) = (new.max, new.measure);
        }
        if self.allow || self.block {
            limit.kind = if self.allow { Kind::Allow } else { Kind::Block };
        }
        if let Some(each) = self.each {
            limit.scope = each.scope();
        }
        if let Some(policy) = self.policy {
            limit.policy = policy.policy();
        }
        if let Some(window) = &self.per {
            limit.window = window.clone();
        }
        if let Some(percent) = self.threshold {
            limit.threshold = (percent > 0).then_some(u16::from(percent) * 10);
        }
        if let Some(name) = &self.name {
            limit.name = name.as_str().into();
        }
        if old.is_some_and(|old| (old.measure, old.scope) != (limit.measure, limit.scope)) {
            // They were for others, or of something else.
            limit.overrides.clear();
        }
        limit.check().map_err(|e| Failure::Misuse(e.to_string()))?;
        Ok(limit)
    }
}

impl Each {
    fn scope(self) -> Scope {
        match self {
            Self::Attached => Scope::Attached,
            Self::User => Scope::EachUser,
            Self::Account => Scope::EachAccount,
            Self::UseCase => Scope::EachUseCase,
            Self::Everyone => Scope::Everyone,
        }
    }
}

impl How {
    fn policy(self) -> Policy {
        match self {
            Self::Strict => Policy::Strict,
            Self::Estimate => Policy::Estimate,
            Self::InjectMaxTokens => Policy::InjectMaxTokens,
        }
    }
}

fn describe(limit: &Limit) -> String {
    format!("{}: {}, {}, {}", limit.id, unit(limit, limit.max), limit.window.describe(), scope(limit.scope))
}

fn unit(limit: &Limit, amount: i128) -> String {
    let shown = limit.measure.show(amount);
    if limit.measure == Measure::Concurrent { format!("{shown} at a time") } else { shown }
}

pub(crate) fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Attached => "calls that name it",
        Scope::EachUser => "each user",
        Scope::EachAccount => "each account",
        Scope::EachUseCase => "each use case",
        Scope::Everyone => "everyone",
    }
}

/// A counter: of a limit that has one, that one; of a template, the one nearest to its maximum.
struct Row {
    definition: Definition,
    subject: Subject,
    standing: Standing,
    /// There are counters of this limit that are not among the rows.
    more: bool,
}

impl Row {
    fn state(&self) -> LimitState {
        LimitState::of(&self.definition.limit, self.standing.max, self.standing.settled)
    }

    fn is_full(&self) -> bool {
        is_full(&self.standing)
    }
}

/// At its maximum, or so near that nothing but the smallest call fits.
fn is_full(at: &Standing) -> bool {
    at.settled >= at.max
}

/// How a counter stands, in a word, for tables and pages.
pub(crate) fn state(limit: &Limit, at: &Standing) -> &'static str {
    if is_full(at) { "full" } else { LimitState::of(limit, at.max, at.settled).name() }
}

impl Status {
    fn run(&self, terminal: Option<Terminal>, out: &mut dyn Write) -> Result<(), Failure> {
        let limits = Limits::of(Arc::new(LedgerStore::new(self.file.read()?)));
        let rows = self.rows(&limits)?;
        match self.format {
            Format::Json => {
                writeln!(out, "{}", json!({ "limits": rows.iter().map(json).collect::<Vec<_>>() }))?;
            }
            Format::Jsonl => rows.iter().try_for_each(|row| writeln!(out, "{}", json(row)))?,
            Format::Table | Format::Csv | Format::Md => {
                table(&rows).write(self.format, terminal, out)?;
            }
        }
        out.flush()?;
        if rows.iter().any(Row::is_full) {
            return Err(Failure::Found);
        }
        if rows.iter().any(|row| row.state() == LimitState::Exceeded) {
            return Err(Failure::Near);
        }
        Ok(())
    }

    fn rows(&self, limits: &Limits) -> Result<Vec<Row>, Failure> {
        let (definitions, most) = match &self.id {
            Some(id) => (vec![find(limits, id)?], self.limit),
            None => (limits.list()?, 1),
        };
        let mut rows = Vec::new();
        for definition in definitions {
            let mut counters = limits.status(&definition.limit.id, most.saturating_add(1))?;
            let more = counters.len() > most;
            counters.truncate(most);
            if counters.is_empty() {
                let untouched = limits.standing(&definition.limit.id, &Subject::default())?;
                counters.push((Subject::default(), untouched.unwrap_or_default()));
            }
            rows.extend(counters.into_iter().map(|(subject, standing)| Row {
                definition: definition.clone(),
                subject,
                standing,
                more,
            }));
        }
        Ok(rows)
    }
}

fn table(rows: &[Row]) -> Table {
    let heads = ["Limit", "Whose", "Window", "Kind", "State", "Spent", "Held", "Max", "Unit"];
    let cells = |row: &Row| {
        let (limit, at) = (&row.definition.limit, &row.standing);
        let shown = unit(limit, at.max);
        let (max, unit) = shown.split_once(' ').unwrap_or((&shown, ""));
        vec![
            limit.id.to_string(),
            whose(limit, &row.subject, at),
            limit.window.describe(),
            if limit.kind == Kind::Block { "block" } else { "allow" }.into(),
            state(limit, at).into(),
            limit.show(at.settled),
            limit.show(at.held),
            max.into(),
            unit.into(),
        ]
    };
    Table {
        columns: heads.map(Column::new).into(),
        names: 0..5,
        rows: rows.iter().map(cells).collect(),
        footer: None,
        notes: notes(rows),
    }
}

/// What the rows do not say.
fn notes(rows: &[Row]) -> Vec<String> {
    if rows.is_empty() {
        return vec!["There are no limits; `payi limits set` makes one.".into()];
    }
    let mut more: Vec<&str> =
        rows.iter().filter(|row| row.more).map(|row| &*row.definition.limit.id).collect();
    more.dedup();
    let note = |id: &str| {
        let shown = rows.iter().filter(|row| &*row.definition.limit.id == id).count();
        format!(
            "{id} has more counters; shown: the {shown} nearest to the maximum. \
             `payi limits status {id} --limit N` shows more."
        )
    };
    more.into_iter().map(note).collect()
}

/// Whose counter, for people: of calls that name nobody, `(none)`; the limit's scope, where all calls count together
/// or none has counted yet.
pub(crate) fn whose(limit: &Limit, subject: &Subject, at: &Standing) -> String {
    let whole = matches!(limit.scope, Scope::Attached | Scope::Everyone);
    let untouched = at.settled == 0 && at.held == 0;
    match (subject.name.as_str(), subject.within.as_str()) {
        ("", "") if whole || untouched => scope(limit.scope).into(),
        ("", "") => "(none)".into(),
        (name, "") => name.into(),
        ("", within) => format!("(none) of {within}"),
        (name, within) => format!("{name} of {within}"),
    }
}

fn json(row: &Row) -> Value {
    let (limit, at) = (&row.definition.limit, &row.standing);
    json!({
        "id": limit.id, "name": limit.name, "kind": limit.kind, "measure": limit.measure, "scope": limit.scope,
        "window": limit.window.describe(), "subject": &*row.subject.name, "within": &*row.subject.within,
        "state": row.state().name(), "full": row.is_full(), "more_counters": row.more,
        "spent": limit.show(at.settled), "held": limit.show(at.held), "max": limit.show(at.max),
        "frees_at": at.frees_us.and_then(|us| jiff::Timestamp::from_microsecond(us).ok()).map(|at| at.to_string()),
    })
}
