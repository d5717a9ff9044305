//! Everything that is tested from outside, in one binary: one link, one run.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(
    clippy::too_many_lines,
    clippy::needless_pass_by_value,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "a test says in one place, and in few words, what it does to files of our own"
)]

mod adopt;
mod clients;
mod conformance_context;
mod corpus;
mod limits;
mod macros;
mod required;
#[path = "../tidy.rs"]
mod tidy;

mod conformance_delivery;
mod conformance_events;
mod faults;
mod payi;
mod quickstart;
mod support;
