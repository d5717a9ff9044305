//! Rates: a level that rises with each call and falls evenly, by the generic cell rate algorithm.
//!
//! The crate `governor` keeps the algorithm's theoretical arrival time in the memory of one process. Here
//! the state has to live in the store, beside what processes hold of the same limit, so it is kept in the
//! equivalent form of a level; a test holds its decisions against `governor`'s.

/// When a level that is said to be of `then_us` begins to fall: it was noted by a clock that has been set back since
/// if that is still to come.
pub(crate) fn falls_from(then_us: i64, now_us: i64) -> i64 {
    const SLACK_US: i64 = 5_000_000;
    if then_us > now_us.saturating_add(SLACK_US) { now_us } else { then_us }
}

/// What a level has fallen to after so many microseconds, rounded up, where `max` drains in `per_us`.
///
/// It also gives the time, `at_us` or a little before it, at which the level was exactly that: what was
/// rounded is not lost however often one looks.
pub(crate) fn decayed(level: i128, then_us: i64, at_us: i64, max: i128, per_us: i64) -> (i128, i64) {
    let passed = i128::from(at_us.saturating_sub(then_us).max(0));
    if level <= 0 || per_us <= 0 || max <= 0 {
        return (level.max(0), at_us.max(then_us));
    }
    let gone = passed.saturating_mul(max) / i128::from(per_us);
    if gone >= level {
        return (0, at_us.max(then_us));
    }
    let took =
        (gone * i128::from(per_us)).div_euclid(max) + i128::from((gone * i128::from(per_us)) % max != 0);
    (level - gone, then_us.saturating_add(i64::try_from(took).unwrap_or(0)))
}

/// When a level will have fallen by `by`.
pub(crate) fn falls_by(by: i128, then_us: i64, max: i128, per_us: i64) -> Option<i64> {
    let takes = by.max(0).saturating_mul(per_us.into()).checked_add(max - 1)?.checked_div(max)?;
    Some(then_us.saturating_add(i64::try_from(takes).unwrap_or(i64::MAX)))
}
