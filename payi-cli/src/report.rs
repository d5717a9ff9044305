//! The commands that only read. They are the same over a file, over `--server`, and as `GET /api/reports/…`.

use std::io::Write;

use clap::{ArgMatches, CommandFactory as _, parser::ValueSource};
use payi_core::{
    ledger::{Ledger, read::Dimension},
    pricing::PriceBook,
};

use crate::{
    Failure,
    args::{Args, Calls, Command, Diff, Explain, Source, Spend},
    calls,
    output::Terminal,
    remote, spend,
};

/// One of them, with its options.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Report<'a> {
    /// Spend by the options' dimensions, or by these.
    Spend(&'a Spend, &'static [Dimension]),
    Calls(&'a Calls),
    Explain(&'a Explain),
    Diff(&'a Diff),
}

impl Command {
    /// This command, if it is one of them.
    pub(crate) const fn report(&self) -> Option<Report<'_>> {
        Some(match self {
            Self::Users(spend) => Report::Spend(spend, &[Dimension::User, Dimension::Account]),
            Self::Accounts(spend) => Report::Spend(spend, &[Dimension::Account]),
            Self::UseCases(spend) => Report::Spend(spend, &[Dimension::UseCase]),
            Self::Models(spend) => Report::Spend(spend, &[Dimension::Model]),
            Self::Calls(calls) => Report::Calls(calls),
            Self::Explain(explain) => Report::Explain(explain),
            Self::Diff(diff) => Report::Diff(diff),
            _ => return None,
        })
    }
}

impl Report<'_> {
    const fn source(&self) -> &Source {
        match self {
            Self::Spend(spend, _) => &spend.source,
            Self::Calls(calls) => &calls.source,
            Self::Explain(explain) => &explain.source,
            Self::Diff(diff) => &diff.source,
        }
    }

    /// Writes it, from where its options say. `given` are these options as they were written.
    pub(crate) fn run(
        self,
        given: &ArgMatches,
        terminal: Option<Terminal>,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        match (&self.source().server, given.subcommand()) {
            (Some(server), Some((name, given))) => {
                remote::ask(server, name, &options(name, given), terminal, out)
            }
            _ => self.write(&self.source().file.read()?, self.book()?, terminal, out),
        }
    }

    /// The price book that its options name.
    fn book(self) -> Result<&'static PriceBook, Failure> {
        match self {
            Self::Explain(explain) => explain.book.read(),
            _ => Ok(PriceBook::embedded()),
        }
    }

    /// Writes it from a ledger; what is priced again is priced by `book`.
    pub(crate) fn write(
        self,
        ledger: &Ledger,
        book: &PriceBook,
        terminal: Option<Terminal>,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        match self {
            Self::Spend(spend, usual) => spend::run(spend, usual, ledger, terminal, out),
            Self::Calls(calls) => calls::run(calls, ledger, terminal, out),
            Self::Explain(explain) => calls::explain(explain, ledger, book, out),
            Self::Diff(diff) => spend::diff(diff, ledger, terminal, out),
        }
    }
}

/// Options that name files or a server, which are not for the other side to read.
pub(crate) const LOCAL: [&str; 3] = ["ledger", "prices", "server"];

/// The options of a command that were written, by their names; those without a value have an empty one.
fn options(name: &str, given: &ArgMatches) -> Vec<(String, String)> {
    let commands = Args::command();
    let known = commands.find_subcommand(name).into_iter().flat_map(clap::Command::get_arguments);
    let known = known.filter(|known| !LOCAL.contains(&known.get_id().as_str()));
    let mut options = Vec::new();
    for option in known {
        let id = option.get_id().as_str();
        if given.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let name = option.get_long().unwrap_or(id).to_owned();
        if !option.get_action().takes_values() {
            options.push((name, String::new()));
            continue;
        }
        for value in given.get_raw(id).into_iter().flatten() {
            options.push((name.clone(), value.to_string_lossy().into_owned()));
        }
    }
    options
}

/// The arguments that such options stand for, as a command line has them: an option and its value are one argument,
/// so that no value is taken for an option.
pub(crate) fn arguments(name: &str, options: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let commands = Args::command();
    let command = commands.find_subcommand(name);
    let find = |option: &str| {
        command?.get_arguments().find(|a| a.get_long().unwrap_or(a.get_id().as_str()) == option)
    };
    let mut arguments = vec!["payi".to_owned(), name.to_owned()];
    let mut positional = Vec::new();
    for (option, value) in options {
        match find(&option) {
            Some(known) if known.is_positional() => positional.push(value),
            Some(known) if !known.get_action().takes_values() => arguments.push(format!("--{option}")),
            _ => arguments.push(format!("--{option}={value}")),
        }
    }
    arguments.push("--".into());
    arguments.extend(positional);
    arguments
}
