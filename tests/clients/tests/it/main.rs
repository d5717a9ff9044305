//! Every client that payi tracks, as its crate is published, against the provider on loopback: one binary,
//! because each of them takes long to link.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::large_futures, reason = "the AWS SDK's are, and a test waits for one at a time")]

mod async_openai;
mod aws;
mod bench;
mod genai;
mod limits;
mod relay;
mod reqwest;
mod reqwest012;
mod reqwest_middleware;
mod rig;
mod tower;
mod tracing;
