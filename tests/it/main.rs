//! Everything that is tested from outside, in one binary: one link, one run.

mod macros;

mod clients;
mod corpus;
#[path = "../tidy.rs"]
mod tidy;

mod payi;
mod quickstart;
mod support;
