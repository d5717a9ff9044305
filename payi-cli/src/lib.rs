//! The `payi` command as a library: what spends money, read from a ledger.
//!
//! [`run`] is the whole program. [`execute`] is the same with the streams handed in, for tests and for
//! programs that carry the command inside.

mod args;
mod calls;
mod delivery;
mod doctor;
mod inspect;
mod ledger;
mod output;
mod prices;
mod serve;
pub mod server;
mod spend;
mod users;
mod when;

use std::{
    ffi::OsString,
    io::{self, ErrorKind, IsTerminal as _, Write},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _};
use payi_core::ledger::read::Dimension;

use crate::args::{Args, Command};
pub use crate::output::Terminal;

/// Everything went well.
const OK: u8 = 0;
/// Something went wrong on the way.
const FAILED: u8 = 1;
/// What was asked for makes no sense: a wrong option, no such ledger, not a ledger.
const MISUSE: u8 = 2;

/// Runs the command on the program's own streams. `args` begin with the program's name.
pub fn run<I, T>(args: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let terminal = io::stdout().is_terminal().then(Terminal::of_stdout);
    ExitCode::from(execute(args, terminal, &mut io::stdout().lock(), &mut io::stderr().lock()))
}

/// Runs the command; the exit code is 0, 1 (it failed) or 2 (it was misused).
pub fn execute<I, T>(args: I, terminal: Option<Terminal>, out: &mut dyn Write, err: &mut dyn Write) -> u8
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(e) => {
            let text = e.render();
            let _ = if e.use_stderr() { write!(err, "{text}") } else { write!(out, "{text}") };
            return if e.use_stderr() { MISUSE } else { OK };
        }
    };
    match perform(&args, terminal, out, err) {
        Ok(()) | Err(Failure::Reader) => OK,
        Err(Failure::Found) => FAILED,
        Err(Failure::Misuse(message)) => {
            let _ = writeln!(err, "payi: {message}");
            MISUSE
        }
        Err(Failure::Failed(message)) => {
            let _ = writeln!(err, "payi: {message}");
            FAILED
        }
    }
}

fn perform(
    args: &Args,
    terminal: Option<Terminal>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    match &args.command {
        Command::Users(users) => users::run(users, terminal, out),
        Command::Accounts(spend) => spend::run(spend, Dimension::Account, terminal, out),
        Command::UseCases(spend) => spend::run(spend, Dimension::UseCase, terminal, out),
        Command::Models(spend) => spend::run(spend, Dimension::Model, terminal, out),
        Command::Calls(calls) => calls::run(calls, terminal, out),
        Command::Explain(explain) => calls::explain(explain, out),
        Command::Diff(diff) => spend::diff(diff, terminal, out),
        Command::Completions(completions) => {
            // Into memory first: the generator panics where a pipe is closed.
            let mut script = Vec::new();
            clap_complete::generate(completions.shell, &mut Args::command(), "payi", &mut script);
            out.write_all(&script)?;
            Ok(out.flush()?)
        }
        Command::Serve(serve) => serve::run(serve, out),
        Command::Prices(prices) => prices::run(prices, out, err),
        Command::Inspect(inspect) => inspect::run(inspect, terminal, out, err),
        Command::Ledger(command) => ledger::run(command, out),
        Command::Delivery(command) => delivery::run(command, out),
        Command::Doctor(doctor) => doctor::run(doctor, out),
    }
}

/// Why a command ended early.
enum Failure {
    /// Exit code 2.
    Misuse(String),
    /// Exit code 1.
    Failed(String),
    /// Exit code 1; what is wrong has been written.
    Found,
    /// Whoever read the output had seen enough (`payi users | head`).
    Reader,
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        if e.kind() == ErrorKind::BrokenPipe { Self::Reader } else { Self::Failed(e.to_string()) }
    }
}

impl From<payi_core::Error> for Failure {
    fn from(e: payi_core::Error) -> Self {
        Self::Failed(e.to_string())
    }
}
