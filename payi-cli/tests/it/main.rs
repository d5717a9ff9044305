//! The command, and the service, as those see them who use them.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

mod cli;
mod collector;
mod hostile;
mod limits;
mod pages;
mod prices;
mod reports;
mod service;
mod support;
mod use_cases;
