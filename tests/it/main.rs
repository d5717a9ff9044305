//! Everything that is tested from outside, in one binary: one link, one run.

mod macros;

#[path = "../tidy.rs"]
mod tidy;
