//! Over which time a limit counts.
//!
//! A window is cut into slots, each with its own sum. A calendar window has one slot, from its first
//! moment; a rolling one has sixty and a little, so that it forgets in small steps, never too early.

use std::{ops::RangeInclusive, time::Duration};

use jiff::{Timestamp, ToSpan as _, Unit, ZonedDateTime, civil::Weekday, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// Over which time a limit counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Window {
    /// From the limit's making, or its last reset.
    #[default]
    Lifetime,
    /// From midnight to midnight in a time zone.
    Day {
        /// IANA's name of the zone.
        zone: Box<str>,
    },
    /// From Monday's midnight on.
    Week {
        /// IANA's name of the zone.
        zone: Box<str>,
    },
    /// From midnight of the first on.
    Month {
        /// IANA's name of the zone.
        zone: Box<str>,
    },
    /// The last so many seconds.
    Rolling {
        /// How many.
        seconds: u32,
    },
    /// Not a sum but a rate: the maximum comes back evenly over so many seconds, and may be used up in one go
    /// (the generic cell rate algorithm with the maximum as its burst).
    Rate {
        /// How many.
        seconds: u32,
    },
}

/// How many slots a rolling window has.
const SLOTS: i64 = 60;
const SECOND: i64 = 1_000_000;
/// How long a clock may have been ahead, or a fact under way, for its slot of a window still to be there.
pub(crate) const GRACE: i64 = 86_400 * SECOND;

impl Window {
    /// Days of a time zone (`UTC`, `Europe/Berlin`).
    ///
    /// # Errors
    /// [`Error::is_config`] if this machine knows no such zone.
    pub fn day(zone: &str) -> Result<Self> {
        Ok(Self::Day { zone: known(zone)? })
    }

    /// Weeks of a time zone, from Monday on.
    pub fn week(zone: &str) -> Result<Self> {
        Ok(Self::Week { zone: known(zone)? })
    }

    /// Months of a time zone.
    pub fn month(zone: &str) -> Result<Self> {
        Ok(Self::Month { zone: known(zone)? })
    }

    /// The last so long, in whole seconds.
    pub fn rolling(length: Duration) -> Self {
        Self::Rolling { seconds: whole(length) }
    }

    /// A rate: the maximum comes back evenly over so long.
    pub fn rate(length: Duration) -> Self {
        Self::Rate { seconds: whole(length) }
    }

    /// Its first moment and the first after it, in microseconds since 1970: those of the slot, where it has
    /// several.
    pub(crate) fn slot(&self, at_us: i64) -> (i64, i64) {
        match self {
            Self::Lifetime | Self::Rate { .. } => (0, i64::MAX),
            Self::Rolling { seconds } => {
                let step = granule(*seconds);
                let start = at_us.div_euclid(step) * step;
                (start, start.saturating_add(step))
            }
            Self::Day { zone } => calendar(zone, at_us, Unit::Day),
            Self::Week { zone } => calendar(zone, at_us, Unit::Week),
            Self::Month { zone } => calendar(zone, at_us, Unit::Month),
        }
    }

    /// The first slot that still counts at a time in slot `slot`.
    pub(crate) fn oldest(&self, slot: i64) -> i64 {
        match self {
            // A slot counts until its last moment is too old.
            Self::Rolling { seconds } => slot.saturating_sub(i64::from(*seconds) * SECOND),
            _ => slot,
        }
    }

    /// The slots that count at a time in slot `slot`. Of a rolling window later ones count too, within its length: a
    /// clock that is set back, or a call that waited, does not make room.
    pub(crate) fn counted(&self, slot: i64) -> RangeInclusive<i64> {
        let newest = match self {
            Self::Rolling { seconds } => slot.saturating_add(i64::from(*seconds) * SECOND),
            _ => slot,
        };
        self.oldest(slot)..=newest
    }

    /// When what was spent in `slot` counts no longer; `None` if never.
    pub(crate) fn forgotten(&self, slot: i64) -> Option<i64> {
        match self {
            Self::Lifetime | Self::Rate { .. } => None,
            Self::Rolling { seconds } => {
                Some(slot.saturating_add(i64::from(*seconds) * SECOND).saturating_add(granule(*seconds)))
            }
            _ => Some(self.slot(slot).1),
        }
    }

    /// The first slot that a store still keeps: those before have not counted for a day. `None` if none is forgotten.
    pub(crate) fn kept_from(&self, now_us: i64) -> Option<i64> {
        self.forgotten(0).map(|_| self.oldest(self.slot(now_us.saturating_sub(GRACE)).0))
    }

    /// When so much that is only reserved is free at the latest, at a time in slot `slot`: with its calendar's window.
    /// `None` if nobody can say.
    pub(crate) fn frees(&self, slot: i64, reserved: i128) -> Option<i64> {
        let ends = matches!(self, Self::Day { .. } | Self::Week { .. } | Self::Month { .. });
        (ends && reserved > 0).then(|| self.slot(slot).1)
    }

    /// For people: `month (Europe/Berlin)`.
    pub fn describe(&self) -> String {
        match self {
            Self::Lifetime => "lifetime".into(),
            Self::Day { zone } => format!("day ({zone})"),
            Self::Week { zone } => format!("week ({zone})"),
            Self::Month { zone } => format!("month ({zone})"),
            Self::Rolling { seconds } => format!("last {}", length(*seconds)),
            Self::Rate { seconds } => format!("per {}", length(*seconds)),
        }
    }

    /// Reads `lifetime`, `day`, `month:Europe/Berlin`, `rolling:24h`, `rate:1m`.
    ///
    /// # Errors
    /// [`Error::is_config`] with the forms there are.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, of) = text.split_once(':').unwrap_or((text, ""));
        let zone = if of.is_empty() { "UTC" } else { of };
        let seconds = || {
            let span: Option<jiff::SignedDuration> = of.parse().ok();
            span.and_then(|span| u32::try_from(span.as_secs()).ok()).filter(|&seconds| seconds > 0)
        };
        match (name, seconds()) {
            ("lifetime", _) if of.is_empty() => Ok(Self::Lifetime),
            ("day", _) => Self::day(zone),
            ("week", _) => Self::week(zone),
            ("month", _) => Self::month(zone),
            ("rolling", Some(seconds)) => Ok(Self::Rolling { seconds }),
            ("rate", Some(seconds)) => Ok(Self::Rate { seconds }),
            _ => Err(Error::new(
                Kind::Config,
                format!(
                    "{text:?} is no window; write lifetime, day, week or month (of a zone: month:Europe/Berlin), \
                     rolling:24h or rate:1m"
                ),
            )),
        }
    }
}

fn whole(length: Duration) -> u32 {
    u32::try_from(length.as_secs()).unwrap_or(u32::MAX).max(1)
}

fn granule(seconds: u32) -> i64 {
    (i64::from(seconds) * SECOND / SLOTS).max(SECOND / 10)
}

fn length(seconds: u32) -> String {
    match seconds {
        s if s % 86_400 == 0 => format!("{} d", s / 86_400),
        s if s % 3_600 == 0 => format!("{} h", s / 3_600),
        s if s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

fn known(zone: &str) -> Result<Box<str>> {
    match TimeZone::get(zone) {
        Ok(_) => Ok(zone.into()),
        Err(_) => Err(Error::new(
            Kind::Config,
            format!(
                "this machine knows no time zone {zone:?}; write IANA's name (Europe/Berlin), or install tzdata"
            ),
        )),
    }
}

/// A zone that this machine has lost since is taken for UTC: a limit has to go on.
fn calendar(zone: &str, at_us: i64, unit: Unit) -> (i64, i64) {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let at = Timestamp::from_microsecond(at_us).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned_datetime(zone);
    edges(&at, unit).unwrap_or((0, i64::MAX))
}

fn edges(at: &ZonedDateTime, unit: Unit) -> Option<(i64, i64)> {
    let (start, span) = match unit {
        Unit::Month => (at.first_of_month().ok()?, 1.month()),
        Unit::Week => {
            let back = i64::from(at.weekday().since(Weekday::Monday));
            (at.checked_sub(back.days()).ok()?, 1.week())
        }
        _ => (at.clone(), 1.day()),
    };
    let start = start.start_of_day().ok()?;
    // Midnight may be missing on a day that the clock skips ahead: `start_of_day` is the first moment there is.
    let end = start
        .date()
        .checked_add(span)
        .ok()?
        .to_zoned_datetime(start.time_zone().clone())
        .ok()?
        .start_of_day()
        .ok()?;
    Some((start.timestamp().as_microsecond(), end.timestamp().as_microsecond()))
}
