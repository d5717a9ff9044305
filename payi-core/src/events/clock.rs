//! Where an attempt's id and its time come from, so that tests can fix both.

use std::time::SystemTime;

use uuid::Uuid;

/// Gives each attempt its id and its time. Called on the caller's task: it may not wait.
pub trait Clock: Send + Sync {
    /// The time of day.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// A fresh event id: a UUIDv7, so that ids sort by the time they were made.
    fn id(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// The machine's own time, and ids from it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {}
