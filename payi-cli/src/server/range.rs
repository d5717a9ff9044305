//! Ranges of time as people name them, in their own time zone, and the slots a chart divides them into.

use std::time::SystemTime;

use jiff::{
    Span, Timestamp, ToSpan as _, Unit, ZonedDateTime, ZonedDateTimeRound, civil::Date, tz::TimeZone,
};

/// A range by its name in the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// One of [`PRESETS`].
    Preset(&'static str),
    /// From the first day to the last, both included.
    Days(Date, Date),
}

/// Names of ranges, as in addresses and as shown.
pub(crate) const PRESETS: [(&str, &str); 6] = [
    ("24h", "Last 24 hours"),
    ("7d", "Last 7 days"),
    ("30d", "Last 30 days"),
    ("90d", "Last 90 days"),
    ("mtd", "This month"),
    ("all", "All time"),
];

/// A range with its ends.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) since: ZonedDateTime,
    pub(crate) until: ZonedDateTime,
    pub(crate) label: String,
    /// Whether there is a range of the same length before it.
    pub(crate) comparable: bool,
}

impl Range {
    /// The ends at the moment `now`; `first` is when the ledger begins.
    pub(crate) fn resolve(&self, now: &ZonedDateTime, first: Option<SystemTime>) -> Resolved {
        let today = start_of_day(now);
        let tomorrow = add(&today, 1.day());
        let back = |days: i64| add(&tomorrow, (-days).days());
        let (since, until) = match self {
            Self::Preset("24h") => {
                let hour = add(&floor(now, Unit::Hour), 1.hour());
                (add(&hour, -24.hours()), hour)
            }
            Self::Preset("7d") => (back(7), tomorrow),
            Self::Preset("90d") => (back(90), tomorrow),
            Self::Preset("mtd") => (today.first_of_month().unwrap_or(today), tomorrow),
            Self::Preset("all") => {
                let first = first.and_then(|at| Timestamp::try_from(at).ok()).unwrap_or(now.timestamp());
                (start_of_day(&first.to_zoned_datetime(now.time_zone().clone())), tomorrow)
            }
            Self::Preset(_) => (back(30), tomorrow),
            Self::Days(from, to) => {
                let at = |day: Date| {
                    day.to_zoned_datetime(now.time_zone().clone()).unwrap_or_else(|_| today.clone())
                };
                (at(*from), add(&at(*to), 1.day()))
            }
        };
        let label = match self {
            Self::Preset(name) => {
                PRESETS.iter().find(|(n, _)| n == name).map_or("Last 30 days", |(_, l)| l).to_owned()
            }
            Self::Days(from, to) if from == to => from.to_string(),
            Self::Days(from, to) => format!("{from} – {to}"),
        };
        Resolved { since, until, label, comparable: *self != Self::Preset("all") }
    }
}

impl Resolved {
    pub(crate) fn since(&self) -> SystemTime {
        system(&self.since)
    }

    pub(crate) fn until(&self) -> SystemTime {
        system(&self.until)
    }

    /// Slots of a length that suits the range: their consecutive bounds, and how a bound is labelled. The last slot
    /// ends where the range does, or after it.
    pub(crate) fn slots(&self) -> (Vec<ZonedDateTime>, &'static str) {
        const MOST: usize = 400;
        let hours = (self.until.timestamp().as_second() - self.since.timestamp().as_second()) / 3600;
        let (step, format) = match hours {
            ..=49 => (1.hour(), "%H:%M"),
            50..=200 => (6.hours(), "%b %-d"),
            201..=1500 => (1.day(), "%b %-d"),
            1501..=10_000 => (1.week(), "%b %-d"),
            // Thirty years.
            10_001..=263_000 => (1.month(), "%b %Y"),
            // Whatever an event or an address names as the beginning, there are not many slots.
            _ => ((1 + hours / 2_000_000).years(), "%Y"),
        };
        let mut bounds = vec![self.since.clone()];
        while let Some(last) = bounds.last()
            && *last < self.until
        {
            let next = add(last, step);
            if next <= *last || bounds.len() >= MOST {
                bounds.push(self.until.clone());
                break;
            }
            bounds.push(next);
        }
        (bounds, format)
    }
}

/// The moments of bounds, as the ledger takes them.
pub(crate) fn times(bounds: &[ZonedDateTime]) -> Vec<SystemTime> {
    bounds.iter().map(system).collect()
}

fn system(at: &ZonedDateTime) -> SystemTime {
    SystemTime::try_from(at.timestamp()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn start_of_day(at: &ZonedDateTime) -> ZonedDateTime {
    at.start_of_day().unwrap_or_else(|_| at.clone())
}

fn floor(at: &ZonedDateTime, unit: Unit) -> ZonedDateTime {
    at.round(ZonedDateTimeRound::new().smallest(unit).mode(jiff::RoundMode::Trunc))
        .unwrap_or_else(|_| at.clone())
}

fn add(at: &ZonedDateTime, span: Span) -> ZonedDateTime {
    at.checked_add(span).unwrap_or_else(|_| at.clone())
}

/// A zone by its name; UTC where there is none of that name.
pub(crate) fn zone(name: &str) -> Option<TimeZone> {
    if name.is_empty() || name.eq_ignore_ascii_case("utc") {
        Some(TimeZone::UTC)
    } else {
        TimeZone::get(name).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at once")]
    use super::*;

    fn now(text: &str) -> ZonedDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_is_a_day_of_its_zone_also_when_the_clock_changes() {
        let now = now("2026-10-25T15:00[Europe/Berlin]");
        let day = Range::Days(now.date(), now.date()).resolve(&now, None);
        assert_eq!(day.slots().0.len() - 1, 25, "this Sunday has 25 hours in Berlin");
        let week = Range::Preset("7d").resolve(&now, None);
        assert_eq!(week.since.to_string(), "2026-10-19T00:00:00+02:00[Europe/Berlin]");
        assert_eq!(week.until.to_string(), "2026-10-26T00:00:00+01:00[Europe/Berlin]");
    }

    #[test]
    fn slots_cover_their_range_without_gaps() {
        let now = now("2026-11-23T20:59:59[UTC]");
        let mut ranges: Vec<_> = [0, 1, 1_000_000_000, 1_700_000_000, 1_795_000_000]
            .map(|secs| (Range::Preset("all"), secs))
            .into();
        ranges.extend(PRESETS.map(|(name, _)| (Range::Preset(name), 1_000_000_000)));
        for first in ["-009999-01-01", "0001-01-01", "1899-12-31", "1970-01-01", "1996-02-29", "2026-11-23"] {
            ranges.push((Range::Days(first.parse().unwrap(), now.date()), 0));
        }
        for (range, first) in ranges {
            let first = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(first);
            let what = format!("{range:?} from {first:?}");
            let range = range.resolve(&now, Some(first));
            let (bounds, _) = range.slots();
            assert_eq!(bounds[0], range.since, "{what}");
            assert!(*bounds.last().unwrap() >= range.until, "{what} ends at {}", bounds.last().unwrap());
            assert!(bounds.len() < 400 && bounds.windows(2).all(|w| w[0] < w[1]), "{what}: {}", bounds.len());
            assert!(range.since < now && now < range.until, "{what}");
        }
    }
}
