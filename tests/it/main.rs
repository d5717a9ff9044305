//! Everything that is tested from outside, in one binary: one link, one run.

#[path = "../tidy.rs"]
mod tidy;
