//! For the tests of users: a recorder bound to a scope, and a provider on loopback.

mod recorder;

pub use recorder::{Recorder, TestClock};
