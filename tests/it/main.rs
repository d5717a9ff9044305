//! Everything that is tested from outside, in one binary: one link, one run.

mod adopt;
mod clients;
mod conformance_context;
mod corpus;
mod macros;
mod required;
#[path = "../tidy.rs"]
mod tidy;

mod conformance_delivery;
mod faults;
mod payi;
mod quickstart;
mod support;
