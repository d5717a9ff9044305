//! Times as people write them on a command line.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, civil, tz::TimeZone};

/// A date, a time, an age or `today`; days are UTC days.
pub(crate) fn parse(text: &str) -> Result<SystemTime, String> {
    parse_at(text, SystemTime::now())
}

fn parse_at(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    if text == "now" {
        return Ok(now);
    }
    if text == "today" {
        let now = Timestamp::try_from(now).map_err(|e| e.to_string())?;
        return day(TimeZone::UTC.to_datetime(now).date());
    }
    if let Some(age) = age(text) {
        return now.checked_sub(age).ok_or_else(|| format!("{text} ago is too long ago"));
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return at.try_into().map_err(|_| format!("{text} is out of range"));
    }
    // jiff's parser would take the date out of a longer text, such as a time without its zone.
    if let (Ok(date), 10) = (text.parse::<civil::Date>(), text.len()) {
        return day(date);
    }
    Err("write a day (2026-11-23), a time (2026-11-23T14:00:00Z), an age (90m, 24h, 7d) or `today`".into())
}

fn day(date: civil::Date) -> Result<SystemTime, String> {
    let midnight = date.to_datetime(civil::Time::midnight());
    let at = TimeZone::UTC.to_timestamp(midnight).map_err(|e| e.to_string())?;
    at.try_into().map_err(|_| format!("{date} is out of range"))
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

    #[test]
    fn reads_what_people_write_and_refuses_what_could_mean_two_things() {
        let now: SystemTime = "2026-11-23T20:30:00Z".parse::<Timestamp>().unwrap().try_into().unwrap();
        for (text, at) in [
            ("2026-11-20", "2026-11-20T00:00:00Z"),
            ("2026-11-20T12:30:00Z", "2026-11-20T12:30:00Z"),
            ("2026-11-20T12:30:00+02:00", "2026-11-20T10:30:00Z"),
            ("today", "2026-11-23T00:00:00Z"),
            ("90m", "2026-11-23T19:00:00Z"),
            ("24h", "2026-11-22T20:30:00Z"),
            ("7d", "2026-11-16T20:30:00Z"),
        ] {
            assert_eq!(
                parse_at(text, now),
                Ok(at.parse::<Timestamp>().unwrap().try_into().unwrap()),
                "{text}"
            );
        }
        for text in
            ["", "d", "yesterday", "23/11/2026", "2026-11-20T12:30:00", "-7d", "99999999999999999999d"]
        {
            assert!(parse_at(text, now).is_err(), "{text}");
        }
    }
}
