//! Times as people write them on a command line.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, ZonedDateTime, civil, tz::TimeZone};

/// A time, before it is known where days begin and what time it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    At(SystemTime),
    /// The beginning of a day.
    Day(civil::Date),
    Today,
    Ago(Duration),
}

impl When {
    /// A date, a time, an age, `today` or `now`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "now" => return Ok(Self::Ago(Duration::ZERO)),
            "today" => return Ok(Self::Today),
            _ => {}
        }
        if let Some(age) = age(text) {
            return Ok(Self::Ago(age));
        }
        if let Ok(at) = text.parse::<Timestamp>() {
            return at.try_into().map(Self::At).map_err(|_| format!("{text} is out of range"));
        }
        // jiff's parser would take the date out of a longer text, such as a time without its zone.
        if let (Ok(date), 10) = (text.parse::<civil::Date>(), text.len()) {
            return Ok(Self::Day(date));
        }
        Err("write a day (2026-11-23), a time (2026-11-23T14:00:00Z), an age (90m, 24h, 7d) or `today`"
            .into())
    }

    /// The moment, where days begin as in `zone` and it is `now`. What no calendar has becomes its nearest end.
    pub(crate) fn resolve(self, zone: &TimeZone, now: SystemTime) -> SystemTime {
        match self {
            Self::At(at) => at,
            Self::Day(date) => start(date.to_zoned_datetime(zone.clone()), now),
            Self::Today => {
                let today = Timestamp::try_from(now).map(|now| zone.to_datetime(now).date());
                start(today.and_then(|today| today.to_zoned_datetime(zone.clone())), now)
            }
            Self::Ago(age) => now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}

fn start(day: Result<ZonedDateTime, jiff::Error>, otherwise: SystemTime) -> SystemTime {
    day.and_then(|day| day.start_of_day())
        .and_then(|at| SystemTime::try_from(at.timestamp()))
        .unwrap_or(otherwise)
}

/// The same where days are UTC days.
pub(crate) fn utc(text: &str) -> Result<SystemTime, String> {
    When::parse(text).map(|at| at.resolve(&TimeZone::UTC, SystemTime::now()))
}

fn age(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn moment(text: &str) -> SystemTime {
        text.parse::<Timestamp>().unwrap().try_into().unwrap()
    }

    #[test]
    fn reads_what_people_write_and_refuses_what_could_mean_two_things() {
        let now = moment("2026-11-23T20:30:00Z");
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (text, utc, there) in [
            ("2026-11-20", "2026-11-20T00:00:00Z", "2026-11-19T23:00:00Z"),
            ("2026-07-01", "2026-07-01T00:00:00Z", "2026-06-30T22:00:00Z"),
            ("2026-11-20T12:30:00Z", "2026-11-20T12:30:00Z", "2026-11-20T12:30:00Z"),
            ("2026-11-20T12:30:00+02:00", "2026-11-20T10:30:00Z", "2026-11-20T10:30:00Z"),
            ("today", "2026-11-23T00:00:00Z", "2026-11-22T23:00:00Z"),
            ("now", "2026-11-23T20:30:00Z", "2026-11-23T20:30:00Z"),
            ("90m", "2026-11-23T19:00:00Z", "2026-11-23T19:00:00Z"),
            ("7d", "2026-11-16T20:30:00Z", "2026-11-16T20:30:00Z"),
        ] {
            let read = When::parse(text).unwrap();
            assert_eq!(read.resolve(&TimeZone::UTC, now), moment(utc), "{text}");
            assert_eq!(read.resolve(&berlin, now), moment(there), "{text} in Berlin");
        }
        for text in
            ["", "d", "yesterday", "23/11/2026", "2026-11-20T12:30:00", "-7d", "99999999999999999999d"]
        {
            assert!(When::parse(text).is_err(), "{text}");
        }
    }
}
