//! How long to wait after a failure: longer each time, never in step with others.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

/// The first wait.
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait, also where the place asks for a longer one.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

/// Waits that double, less a random quarter.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// After a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// After a failure: what the place says, else twice the last wait.
    pub(crate) fn next(&mut self, told: Option<Duration>) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let wait = told.map_or(doubled, |told| told.min(LONGEST));
        // Told to wait, not to come early: jitter goes on top there.
        let jitter = 0.25 * random();
        wait.mul_f64(if told.is_some() { 1.0 + jitter } else { 1.0 - jitter })
    }
}

/// Between 0 and 1.
fn random() -> f64 {
    // The standard library seeds its hash maps at random; that is as good a source as this needs.
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_differ() {
        let mut backoff = Backoff::default();
        for n in 0..20 {
            let whole = FIRST.saturating_mul(1 << n.min(16)).min(LONGEST);
            let wait = backoff.next(None);
            assert!(wait <= whole && wait >= whole.mul_f64(0.749), "{n}: {wait:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
        let waits: std::collections::HashSet<Duration> =
            (0..9).map(|_| Backoff::default().next(None)).collect();
        assert!(waits.len() > 1, "the same wait nine times");
    }

    #[test]
    fn a_place_is_obeyed_within_reason() {
        let told = |secs| Backoff::default().next(Some(Duration::from_secs(secs)));
        assert!(told(3) >= Duration::from_secs(3) && told(3) <= Duration::from_secs(4));
        assert!(told(1_000_000_000) <= LONGEST.mul_f64(1.26));
    }
}
