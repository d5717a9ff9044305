//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::SystemTime};

use clap::{Args as Arguments, Parser, Subcommand, ValueEnum};
use payi_core::ledger::{Filter, Ledger, Sort};

use crate::{Failure, prices::Prices, when};

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
    /// The dashboard, on a port of this machine.
    Serve(Serve),
    /// What models cost.
    Prices(Prices),
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
    /// Opens the dashboard in the browser.
    #[arg(long)]
    pub(crate) open: bool,
}

/// Where the ledger is.
#[derive(Debug, Arguments)]
pub(crate) struct File {
    /// The ledger's file.
    #[arg(long, visible_alias = "db", env = "PAYI_LEDGER", default_value = "payi.db", value_name = "PATH")]
    pub(crate) ledger: PathBuf,
}

impl File {
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
