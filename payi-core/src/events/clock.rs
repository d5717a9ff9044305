//! Where an attempt's id and its time come from, so that tests can fix both.

use std::time::{Duration, Instant, SystemTime};

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

/// When a wait of `within` ends. A wait longer than the clock can say ends in a year.
pub(crate) fn deadline(within: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let now = Instant::now();
    now.checked_add(within).unwrap_or_else(|| now + YEAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_without_end_is_no_reason_to_panic() {
        assert!(deadline(Duration::MAX) > Instant::now() + Duration::from_secs(86_400));
    }
}
