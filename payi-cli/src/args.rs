//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::SystemTime};

use clap::{Args as Arguments, Parser, Subcommand, ValueEnum};
use payi_core::ledger::{
    Filter, Ledger, Sort,
    read::{Dimension, Order, Pick, Query},
};

use crate::output::columns;
use crate::{Failure, inspect::Inspect, prices::Prices, when};

/// Who spent what on GenAI calls.
#[derive(Debug, Parser)]
#[command(name = "payi", version, about, propagate_version = true, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What each user used and cost.
    Users(Users),
    /// What each account used and cost.
    Accounts(Spend),
    /// What each use case used and cost.
    UseCases(Spend),
    /// What each model used and cost.
    Models(Spend),
    /// Calls one by one, an attempt a row.
    Calls(Calls),
    /// How the cost of one call came about, line by line.
    Explain(Explain),
    /// What changed between two ranges of time.
    Diff(Diff),
    /// A script that completes this command in a shell.
    Completions(Completions),
    /// The collector and the dashboard, on a port of this machine.
    Serve(Serve),
    /// What models cost.
    Prices(Prices),
    /// What payi makes of recorded exchanges with providers: tokens, cost, and where the cost comes from.
    Inspect(Inspect),
    /// Looks after the ledger's file.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Looks after what has yet to be delivered.
    #[command(subcommand)]
    Delivery(DeliveryCommand),
    /// Says whether everything is in order, and what to do if it is not.
    Doctor(Doctor),
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Deletes single calls of old days; the totals of those days stay.
    Prune {
        #[command(flatten)]
        file: File,
        /// Calls begun before this UTC day: a day (2026-11-23), or an age (90d).
        #[arg(long, value_name = "WHEN", value_parser = when::parse)]
        before: SystemTime,
    },
    /// Writes events as JSON lines.
    Export {
        #[command(flatten)]
        file: File,
        /// Only this user's, as for an access request.
        #[arg(long, value_name = "ID")]
        user: Option<String>,
    },
    /// Reads events that `export` wrote. What is in the ledger already is left alone.
    Import {
        #[command(flatten)]
        file: File,
        /// The file to read; standard input, if it is `-`.
        #[arg(value_name = "FILE")]
        from: PathBuf,
    },
    /// Erases a person: id, properties, prompts. Totals stay, under no name.
    Forget {
        #[command(flatten)]
        file: File,
        /// Whom.
        #[arg(long, value_name = "ID")]
        user: String,
    },
    /// Examines the file; exit code 1 if something is wrong.
    Check {
        #[command(flatten)]
        file: File,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeliveryCommand {
    /// How far each deliverer has come, and what it has set aside.
    Status {
        #[command(flatten)]
        file: File,
    },
    /// Has everything that was set aside tried again, by the process that delivers.
    Retry {
        #[command(flatten)]
        file: File,
        /// Only what this deliverer set aside.
        #[arg(long, value_name = "NAME")]
        deliverer: Option<String>,
    },
    /// Gives up everything that was set aside. It stays in the ledger.
    Drop {
        #[command(flatten)]
        file: File,
        /// Only what this deliverer set aside.
        #[arg(long, value_name = "NAME")]
        deliverer: Option<String>,
    },
}

#[derive(Debug, Arguments)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) file: File,
    /// Does not try to reach Pay-i.
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Arguments)]
pub(crate) struct Users {
    #[command(flatten)]
    pub(crate) file: File,
    #[command(flatten)]
    pub(crate) narrow: Narrow,
    /// The order of the rows.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sort: By,
    /// Only the first so many rows; the total still covers all.
    #[arg(long, value_name = "N")]
    pub(crate) top: Option<usize>,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Arguments)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) file: File,
    /// Where to listen: an address of this machine only.
    #[arg(long, value_name = "ADDRESS", default_value_t = crate::server::LISTEN)]
    pub(crate) listen: SocketAddr,
    /// Keeps prompts and answers that clients send; without it they are dropped on arrival.
    #[arg(long)]
    pub(crate) log_prompt_and_response: bool,
    /// Opens the dashboard in the browser.
    #[arg(long)]
    pub(crate) open: bool,
}

/// Spend by one dimension, or several.
#[derive(Debug, Arguments)]
pub(crate) struct Spend {
    #[command(flatten)]
    pub(crate) file: File,
    #[command(flatten)]
    pub(crate) narrow: Conditions,
    /// What rows are made of, up to four.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) group_by: Vec<Part>,
    /// Splits rows by model too.
    #[arg(long)]
    pub(crate) breakdown: bool,
    /// The order of the rows.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sort: Ranked,
    /// Turns the order round.
    #[arg(long)]
    pub(crate) reverse: bool,
    /// At most so many rows; the total has all.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: columns::Format,
}

impl Spend {
    /// What rows are made of.
    pub(crate) fn dimensions(&self, of: Dimension) -> Vec<Dimension> {
        let mut by: Vec<Dimension> = self.group_by.iter().map(|part| (*part).into()).collect();
        if by.is_empty() {
            by.push(of);
        }
        if self.breakdown && !by.contains(&Dimension::Model) {
            by.push(Dimension::Model);
        }
        by.truncate(4);
        by
    }
}

/// Two ranges.
#[derive(Debug, Arguments)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) file: File,
    #[command(flatten)]
    pub(crate) narrow: Conditions,
    /// Where the range to compare with begins; it is as long as the other. The one before it, if not given.
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    pub(crate) against: Option<SystemTime>,
    /// What rows are made of, up to four.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES", default_value = "user")]
    pub(crate) group_by: Vec<Part>,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: columns::Format,
}

impl Diff {
    /// What rows are made of.
    pub(crate) fn dimensions(&self) -> Vec<Dimension> {
        self.group_by.iter().map(|part| (*part).into()).take(4).collect()
    }
}

#[derive(Debug, Arguments)]
pub(crate) struct Calls {
    #[command(flatten)]
    pub(crate) file: File,
    #[command(flatten)]
    pub(crate) narrow: Conditions,
    /// The order of the rows.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sort: CallsBy,
    /// At most so many rows.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: columns::Format,
}

#[derive(Debug, Arguments)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) file: File,
    /// The call's event id, as `payi calls` lists it.
    pub(crate) call: String,
    /// A price book, or prices in TOML, laid over the embedded book.
    #[arg(long, env = "PAYI_PRICES", value_name = "PATH")]
    pub(crate) prices: Option<PathBuf>,
}

#[derive(Debug, Arguments)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// What a report covers.
#[derive(Debug, Arguments)]
pub(crate) struct Conditions {
    #[command(flatten)]
    narrow: Narrow,
    /// Only this user.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only this provider.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Only attempts that ended so: ok, failed, aborted, blocked, abandoned.
    #[arg(long, value_name = "NAME")]
    outcome: Option<String>,
}

impl Conditions {
    pub(crate) fn query(&self) -> Result<Query, Failure> {
        let mut query = Query::default();
        query.since = self.narrow.since;
        query.until = self.narrow.until;
        let known = ["ok", "failed", "aborted", "blocked", "abandoned"];
        if let Some(outcome) = self.outcome.as_deref().filter(|o| !known.contains(o)) {
            return Err(Failure::Misuse(format!(
                "no attempt ends {outcome:?}; they end {}",
                known.join(", ")
            )));
        }
        let picks = [
            (Dimension::User, &self.user),
            (Dimension::Account, &self.narrow.account),
            (Dimension::UseCase, &self.narrow.use_case),
            (Dimension::Model, &self.narrow.model),
            (Dimension::Provider, &self.provider),
            (Dimension::Outcome, &self.outcome),
        ];
        query.picks = picks.into_iter().filter_map(|(d, v)| Some((d, Pick::Is(v.clone()?)))).collect();
        Ok(query)
    }
}

/// What rows may be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    User,
    Account,
    UseCase,
    Version,
    Step,
    Provider,
    Model,
    Outcome,
    Error,
}

impl From<Part> for Dimension {
    fn from(part: Part) -> Self {
        match part {
            Part::User => Self::User,
            Part::Account => Self::Account,
            Part::UseCase => Self::UseCase,
            Part::Version => Self::Version,
            Part::Step => Self::Step,
            Part::Provider => Self::Provider,
            Part::Model => Self::Model,
            Part::Outcome => Self::Outcome,
            Part::Error => Self::Error,
        }
    }
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

/// Where the ledger is.
#[derive(Debug, Arguments)]
pub(crate) struct File {
    /// The ledger's file.
    #[arg(long, visible_alias = "db", env = "PAYI_LEDGER", default_value = "payi.db", value_name = "PATH")]
    pub(crate) ledger: PathBuf,
}

impl File {
    /// Opens it for writing, if it is there.
    pub(crate) fn write(&self) -> Result<Ledger, Failure> {
        // Reading first, so that a missing file is an error and not a new ledger.
        self.read()?;
        self.make()
    }

    /// Opens it for writing, and makes it if it is not there.
    pub(crate) fn make(&self) -> Result<Ledger, Failure> {
        Ledger::open(&self.ledger).map_err(|e| Failure::Misuse(e.to_string()))
    }

    /// Opens it for reading only: no file is made or changed.
    pub(crate) fn read(&self) -> Result<Ledger, Failure> {
        Ledger::open_read_only(&self.ledger).map_err(|e| Failure::Misuse(e.to_string()))
    }
}

/// What a report covers.
#[derive(Debug, Arguments)]
pub(crate) struct Narrow {
    /// Only calls begun then or later: a time (2026-11-23, 2026-11-23T14:00Z), an age (90m, 24h, 7d) or `today`;
    /// days are UTC days.
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    pub(crate) since: Option<SystemTime>,
    /// Only calls begun before then.
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    pub(crate) until: Option<SystemTime>,
    /// Only this account.
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Only this use case.
    #[arg(long, value_name = "NAME")]
    pub(crate) use_case: Option<String>,
    /// Only this model.
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
}

impl Narrow {
    pub(crate) fn filter(&self) -> Filter {
        let mut filter = Filter::new();
        filter.since = self.since;
        filter.until = self.until;
        filter.account_name.clone_from(&self.account);
        filter.use_case_name.clone_from(&self.use_case);
        filter.model.clone_from(&self.model);
        filter
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// Most expensive first.
    #[default]
    Cost,
    /// Most calls first.
    Calls,
    /// Most tokens first.
    Tokens,
    /// Latest first.
    LastSeen,
    /// By user id.
    User,
    /// By account name.
    Account,
}

impl From<By> for Sort {
    fn from(by: By) -> Self {
        match by {
            By::Cost => Self::Cost,
            By::Calls => Self::Calls,
            By::Tokens => Self::Tokens,
            By::LastSeen => Self::LastSeen,
            By::User => Self::User,
            By::Account => Self::Account,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON object.
    Json,
    /// For spreadsheets: one row per user, without the total.
    Csv,
}
