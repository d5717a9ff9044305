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
mod limits;
mod logs;
mod output;
mod prices;
mod remote;
mod report;
mod serve;
pub mod server;
mod spend;
mod when;

use std::{
    ffi::OsString,
    io::{self, ErrorKind, IsTerminal as _, Write},
    process::ExitCode,
};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use crate::args::{Args, Command};
pub use crate::output::Terminal;

/// Everything went well.
const OK: u8 = 0;
/// Something went wrong on the way.
const FAILED: u8 = 1;
/// What was asked for makes no sense: a wrong option, no such ledger, not a ledger.
const MISUSE: u8 = 2;
/// A limit has reached its threshold (`payi limits status`).
const NEAR: u8 = 3;

/// Runs the command on the program's own streams. `args` begin with the program's name.
pub fn run<I, T>(args: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let terminal = io::stdout().is_terminal().then(Terminal::of_stdout);
    // Standard error stays unlocked: the log of a service goes there from other threads.
    ExitCode::from(execute(args, terminal, &mut io::stdout().lock(), &mut io::stderr()))
}

/// Runs the command; the exit code is 0, 1 (it failed), 2 (it was misused) or 3 (`payi limits status`: a limit has
/// reached its threshold).
pub fn execute<I, T>(args: I, terminal: Option<Terminal>, out: &mut dyn Write, err: &mut dyn Write) -> u8
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let parsed = Args::command().try_get_matches_from(args);
    let parsed = parsed.and_then(|given| Args::from_arg_matches(&given).map(|args| (args, given)));
    let (args, given) = match parsed {
        Ok(parsed) => parsed,
        Err(e) => {
            let text = e.render();
            let _ = if e.use_stderr() { write!(err, "{text}") } else { write!(out, "{text}") };
            return if e.use_stderr() { MISUSE } else { OK };
        }
    };
    match perform(&args, &given, terminal, out, err) {
        Ok(()) | Err(Failure::Reader) => OK,
        Err(Failure::Found) => FAILED,
        Err(Failure::Near) => NEAR,
        Err(Failure::Misuse(message)) => {
            let _ = writeln!(err, "payi: {message}");
            MISUSE
        }
        Err(Failure::Failed(message) | Failure::Ledger(message)) => {
            let _ = writeln!(err, "payi: {message}");
            FAILED
        }
    }
}

fn perform(
    args: &Args,
    given: &ArgMatches,
    terminal: Option<Terminal>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    if let Some(report) = args.command.report() {
        return report.run(given, terminal, out);
    }
    match &args.command {
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
        Command::Limits(command) => limits::run(command, terminal, out),
        Command::Delivery(command) => delivery::run(command, out),
        Command::Doctor(doctor) => doctor::run(doctor, out),
        // Reports, which have been written.
        _ => Ok(()),
    }
}

/// Why a command ended early.
#[derive(Debug)]
enum Failure {
    /// Exit code 2.
    Misuse(String),
    /// Exit code 1.
    Failed(String),
    /// Exit code 1; the ledger is there, but cannot be read or written.
    Ledger(String),
    /// Exit code 1; what is wrong has been written.
    Found,
    /// Exit code 3; a limit has reached its threshold, as has been written.
    Near,
    /// Whoever read the output had seen enough (`payi users | head`).
    Reader,
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        if e.kind() == ErrorKind::BrokenPipe { Self::Reader } else { Self::Failed(e.to_string()) }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(e: serde_json::Error) -> Self {
        io::Error::from(e).into()
    }
}

impl From<payi_core::Error> for Failure {
    fn from(e: payi_core::Error) -> Self {
        if e.is_ledger() { Self::Ledger(e.to_string()) } else { Self::Failed(e.to_string()) }
    }
}
