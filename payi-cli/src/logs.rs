//! The log of `payi serve` on standard error: one line per thing that happened, for people or for programs.

use std::io;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;

/// What is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Only what failed.
    Error,
    /// What an operator should look at, too.
    #[default]
    Warn,
    /// Each request, too.
    Info,
    /// Everything.
    Debug,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object per line.
    Json,
}

/// Begins to log, unless the program that carries this command inside does so already.
pub(crate) fn start(level: Level, format: Format) {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let lines = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).with_ansi(false);
    let _ = match format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
}
