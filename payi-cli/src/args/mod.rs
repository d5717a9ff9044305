//! The command line as data: each command's options once, for the command itself, for `--help`, for completions, and
//! for the server, which reads the same options from an address.

mod report;

use std::{net::SocketAddr, path::PathBuf, time::SystemTime};

use clap::{Args as Arguments, Parser, Subcommand};
use payi_core::{ledger::Ledger, pricing::PriceBook};

use crate::{Failure, inspect::Inspect, limits::LimitsCommand, logs, prices::Prices, when};

pub(crate) use report::{Calls, Conditions, Diff, Explain, Source, Spend};

const EXIT_CODES: &str = "Exit codes: 0, all went well; 1, it failed, or something wrong was found; \
                          2, what was asked for makes no sense, or there is no such ledger; \
                          3, a limit has reached its threshold (`limits status`).";

/// Who spent what on GenAI calls.
#[derive(Debug, Parser)]
#[command(name = "payi", version, about, propagate_version = true, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What each user used and cost.
    Users(Spend),
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
    /// What changed between two ranges of time: the last seven days against the seven before, unless asked otherwise.
    Diff(Diff),
    /// A script that completes this command in a shell.
    Completions(Completions),
    /// The collector and the dashboard, on a port of this machine.
    Serve(Serve),
    /// What models cost.
    Prices(Prices),
    /// What payi makes of recorded exchanges with providers: tokens, cost, and where the cost comes from.
    Inspect(Inspect),
    /// Budgets and rate limits: makes them, and says how they stand.
    #[command(subcommand)]
    Limits(LimitsCommand),
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
        #[arg(long, value_name = "WHEN", value_parser = when::utc)]
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
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) file: File,
    /// Where to listen: an address of this machine only.
    #[arg(long, value_name = "ADDRESS", value_parser = listen, default_value_t = crate::server::LISTEN)]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) book: Book,
    /// Keeps prompts and answers that clients send; without it they are dropped on arrival.
    #[arg(long)]
    pub(crate) log_prompt_and_response: bool,
    /// Opens the dashboard in the browser.
    #[arg(long)]
    pub(crate) open: bool,
    /// What is logged on standard error; `info` has a line for each request, without names, prompts or keys.
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub(crate) log: logs::Level,
    /// How a line of the log is written.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: logs::Format,
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    let address =
        text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    address.parse().map_err(|_| "write an address and a port, such as 127.0.0.1:8377".into())
}

#[derive(Debug, Arguments)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// What prices there are.
#[derive(Debug, Arguments)]
pub(crate) struct Book {
    /// A price book, or prices in TOML, laid over the embedded book.
    #[arg(long, global = true, env = "PAYI_PRICES", value_name = "PATH")]
    prices: Option<PathBuf>,
}

impl Book {
    /// The embedded book, with the one in the file laid over it. A program reads it once, and keeps it to its end.
    pub(crate) fn read(&self) -> Result<&'static PriceBook, Failure> {
        let Some(path) = &self.prices else { return Ok(PriceBook::embedded()) };
        let book = PriceBook::load(path).map_err(|e| Failure::Misuse(e.to_string()))?;
        Ok(Box::leak(Box::new(book)))
    }
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
