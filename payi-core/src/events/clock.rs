//! Where an attempt's id and its time come from, so that tests can fix both.

use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

/// Gives each attempt its id and its time. Called on the caller's task: it may not wait.
pub trait Clock: Send + Sync {
    /// The time of day.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// A fresh event id for an attempt that begins `at`: a UUIDv7 of that time, so that ids sort by it; those of one
    /// thread in the order in which they were made, also where an attempt began before the one that was named last.
    fn id(&self, at: SystemTime) -> Uuid {
        let since_1970 = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        IDS.with(|ids| {
            let id = ids.last.get().next(since_1970, ids.bits(since_1970));
            ids.last.set(id);
            id.uuid()
        })
    }
}

/// Makes the ids of one thread. The operating system is asked for random bits once: asking for each id costs more than
/// all the rest of it, and the generator that a process shares has a lock.
struct Ids {
    last: Cell<Id>,
    /// The state of a generator (after SplitMix64: <https://doi.org/10.1145/2714064.2660195>), which begins at random: bits
    /// that nobody is likely to draw again, not bits that nobody can guess. It takes in the time of each id, so that a
    /// process forked from this one goes its own way from its first id on.
    state: Cell<u64>,
}

thread_local! {
    static IDS: Ids = Ids { last: Cell::new(Id::first()), state: Cell::new(Uuid::new_v4().as_u64_pair().0) };
}

impl Ids {
    /// The next 64 bits, at this time.
    fn bits(&self, since_1970: Duration) -> u64 {
        let nanos =
            since_1970.as_secs().wrapping_mul(1_000_000_000).wrapping_add(since_1970.subsec_nanos().into());
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15) ^ nanos;
        let bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bits = bits ^ (bits >> 31);
        self.state.set(bits);
        bits
    }
}

/// A UUIDv7 in its two parts.
#[derive(Clone, Copy)]
struct Id {
    /// 48 bits of milliseconds since 1970, and 12 of their fraction.
    stamp: u64,
    /// 62 random bits.
    tail: u64,
}

impl Id {
    const TAIL: u64 = (1 << 62) - 1;

    /// Before all others, at a place of its own.
    fn first() -> Self {
        Self { stamp: 0, tail: Uuid::new_v4().as_u64_pair().1 & Self::TAIL }
    }

    /// A later one, however the clock goes.
    fn next(self, since_1970: Duration, bits: u64) -> Self {
        let millis = since_1970.as_secs() * 1_000 + u64::from(since_1970.subsec_millis());
        let fraction = u64::from(since_1970.subsec_nanos() % 1_000_000) * (1 << 12) / 1_000_000;
        let stamp = (millis << 12) | fraction;
        if stamp > self.stamp {
            return Self { stamp, tail: bits & Self::TAIL };
        }
        let tail = self.tail + 1 + (bits >> 32);
        Self { stamp: self.stamp + (tail >> 62), tail: tail & Self::TAIL }
    }

    fn uuid(self) -> Uuid {
        let (version, variant) = (0x7000, 1 << 63);
        Uuid::from_u64_pair(((self.stamp >> 12) << 16) | version | (self.stamp & 0xfff), variant | self.tail)
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
    fn ids_say_when_they_were_made_and_each_is_later_than_the_one_before() {
        let before = SystemTime::now();
        let ids: Vec<Uuid> = (0..10_000).map(|_| SystemClock.id(SystemClock.now())).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        let (seconds, _) = ids[0].get_timestamp().map_or((0, 0), |at| at.to_unix());
        let expected = before.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        assert!((expected..=expected + 1).contains(&seconds), "{seconds} and {expected}");
        for id in ids {
            assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        }
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_repeats_no_id_and_threads_share_none() {
        assert_ne!(Id::first().tail, Id::first().tail, "one that a fork repeats is told from its copy");
        let mut last = Id::first().next(Duration::from_secs(2), 1 << 40);
        for at in [2, 1, 0, 2] {
            let next = last.next(Duration::from_secs(at), 3 << 40);
            assert!(next.uuid() > last.uuid());
            last = next;
        }
        let forked = |first| {
            let ids = Ids { last: Cell::new(last), state: Cell::new(7) };
            ids.bits(first);
            ids.bits(Duration::from_secs(9))
        };
        assert_eq!(forked(Duration::from_secs(3)), forked(Duration::from_secs(3)));
        assert_ne!(forked(Duration::from_secs(3)), forked(Duration::from_nanos(3_000_000_001)));

        let full = Id { tail: Id::TAIL, ..last };
        assert!(full.next(Duration::ZERO, u64::MAX).uuid() > full.uuid());

        let thread =
            || std::thread::spawn(|| (0..1_000).map(|_| SystemClock.id(UNIX_EPOCH)).collect::<Vec<_>>());
        let made: Vec<_> =
            [thread(), thread(), thread()].into_iter().filter_map(|it| it.join().ok()).flatten().collect();
        let distinct: std::collections::HashSet<_> = made.iter().collect();
        assert_eq!((made.len(), distinct.len()), (3_000, 3_000));
    }

    #[test]
    fn a_wait_without_end_is_no_reason_to_panic() {
        assert!(deadline(Duration::MAX) > Instant::now() + Duration::from_secs(86_400));
    }
}
