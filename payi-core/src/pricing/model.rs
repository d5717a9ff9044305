//! One model's prices through time, and which of them a call pays.

use std::num::NonZeroU32;

use super::{
    pattern::Pattern,
    rate::{Factor, KEYS, Rate},
};

const DAY_US: i64 = 86_400_000_000;

/// A model of one provider.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) id: Box<str>,
    /// Other ids of the same, in lower case.
    pub(super) aliases: Vec<Box<str>>,
    pub(super) patterns: Vec<Pattern>,
    /// The last one in force applies; the first where none is.
    pub(super) periods: Vec<Period>,
    /// Prices of what the periods do not price.
    pub(super) extra: RateSet,
    /// Prices of service tiers, on top of the period's; for each price the first one in force applies.
    pub(super) tiers: Vec<Selected>,
    /// Prices of regions, on top of the period's.
    pub(super) regions: Vec<Selected>,
    /// What is billed at least, by key: a very short recording as one of ten seconds.
    pub(super) least: Option<(u8, u64)>,
    /// How many tokens it writes at most in one answer, reasoning included.
    pub(super) most_output: Option<u64>,
    /// The line of the book's sources that the prices come from.
    pub(super) source: u16,
}

/// Prices, and when they are in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Period {
    pub(super) when: When,
    pub(super) rates: RateSet,
}

/// Prices for those calls that name a tier or region.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    /// In lower case.
    pub(super) name: Box<str>,
    pub(super) when: When,
    pub(super) rates: RateSet,
    pub(super) factor: Factor,
}

/// Rates by key, ascending.
pub(super) type RateSet = Box<[(u8, Rate)]>;

/// When a price is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct When {
    /// The first moment, in microseconds since 1970.
    pub(super) from_us: i64,
    /// Hours of the day (UTC) in seconds, start included and end not; none means all day.
    pub(super) hours: Box<[(u32, u32)]>,
    /// Not on Saturdays and Sundays, nor on these days (numbers since 1970).
    pub(super) working_days: Option<Box<[i64]>>,
    /// Nobody has published that this price holds then: who pays it pays an estimate.
    pub(super) assumed: bool,
}

impl Default for When {
    fn default() -> Self {
        Self { from_us: i64::MIN, hours: Box::default(), working_days: None, assumed: false }
    }
}

impl When {
    pub(super) fn in_force(&self, at_us: i64) -> bool {
        if at_us < self.from_us {
            return false;
        }
        let (day, second) = (at_us.div_euclid(DAY_US), at_us.rem_euclid(DAY_US) / 1_000_000);
        let within = |&(start, end): &(u32, u32)| (i64::from(start)..i64::from(end)).contains(&second);
        let working = self.working_days.as_ref().is_none_or(|holidays| {
            // 1970-01-01 was a Thursday.
            (day + 3).rem_euclid(7) < 5 && holidays.binary_search(&day).is_err()
        });
        working && (self.hours.is_empty() || self.hours.iter().any(within))
    }
}

/// The prices one call pays.
pub(super) struct Chosen<'b> {
    pub(super) rates: [Option<&'b Rate>; KEYS],
    pub(super) factor: Factor,
    pub(super) least: Option<(u8, u64)>,
    pub(super) period: Option<&'b Period>,
    /// The tier was found among the model's.
    pub(super) tier: Option<&'b str>,
    /// The region was found among the model's.
    pub(super) region: Option<&'b str>,
    /// Something had to be guessed.
    pub(super) guessed: bool,
}

impl Model {
    /// What a call at that time, in that tier and region, pays.
    pub(super) fn choose(&self, at_us: i64, tier: Option<&str>, region: Option<&str>) -> Chosen<'_> {
        let mut chosen = Chosen {
            rates: [None; KEYS],
            factor: Factor::ONE,
            least: self.least,
            period: None,
            tier: None,
            region: None,
            guessed: false,
        };
        overlay(&mut chosen.rates, &self.extra);
        let in_force = self.period(at_us);
        chosen.guessed |= in_force.is_none_or(|period| period.when.assumed);
        chosen.period = in_force.or(self.periods.first());
        chosen.period.iter().for_each(|period| overlay(&mut chosen.rates, &period.rates));
        if let Some(tier) = tier.and_then(extra_tier) {
            chosen.tier = chosen.select(&self.tiers, tier, at_us).or_else(|| {
                // Nobody has written down the tier's price of that day. If the usual price has not
                // changed since, the tier's first known price is a fair guess.
                let first = self.tiers.iter().filter(|s| s.name.eq_ignore_ascii_case(tier));
                let first = first.map(|s| s.when.from_us).min()?;
                let same = self.period(first).is_some_and(|then| chosen.is_of(then));
                chosen.guessed = true;
                if same { chosen.select(&self.tiers, tier, first) } else { None }
            });
            chosen.guessed |= chosen.tier.is_none();
        }
        if let Some(region) = region {
            chosen.region = chosen.select(&self.regions, region, at_us);
        }
        chosen
    }

    fn period(&self, at_us: i64) -> Option<&Period> {
        self.periods.iter().rev().find(|period| period.when.in_force(at_us))
    }
}

impl<'b> Chosen<'b> {
    fn is_of(&self, period: &Period) -> bool {
        self.period.is_some_and(|own| std::ptr::eq(own, period))
    }

    fn select(&mut self, all: &'b [Selected], name: &str, at_us: i64) -> Option<&'b str> {
        let mut found = None;
        // Backwards, so that the first one in force is the last to be laid over.
        for selected in all.iter().rev().filter(|s| s.name.eq_ignore_ascii_case(name)) {
            if selected.when.in_force(at_us) {
                overlay(&mut self.rates, &selected.rates);
                self.factor = multiply(self.factor, selected.factor);
                self.guessed |= selected.when.assumed;
                found = Some(&*selected.name);
            }
        }
        found
    }
}

fn overlay<'b>(rates: &mut [Option<&'b Rate>; KEYS], with: &'b RateSet) {
    for (key, rate) in with {
        if let Some(slot) = rates.get_mut(usize::from(*key)) {
            *slot = Some(rate);
        }
    }
}

fn multiply(a: Factor, b: Factor) -> Factor {
    let product = |a: NonZeroU32, b: NonZeroU32| a.saturating_mul(b);
    Factor { num: product(a.num, b.num), den: product(a.den, b.den) }
}

/// The tier as the book names it; `None` for every provider's word for "the usual price".
fn extra_tier(tier: &str) -> Option<&str> {
    let usual = ["", "default", "standard", "auto", "none", "on_demand", "standard_only"];
    if usual.iter().any(|usual| tier.eq_ignore_ascii_case(usual)) {
        return None;
    }
    // Gemini on Vertex: `ON_DEMAND_PRIORITY`.
    Some(tier.get("on_demand_".len()..).filter(|_| starts_with(tier, "on_demand_")).unwrap_or(tier))
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    #[test]
    fn working_hours_end_on_fridays_and_holidays() {
        let monday = 20_780 * DAY_US; // 2026-11-23
        let when = When {
            from_us: monday - 7 * DAY_US,
            hours: [(3_600, 4 * 3_600)].into(),
            working_days: Some([20_781].into()),
            assumed: false,
        };
        assert!(when.in_force(monday + HOUR_US));
        assert!(!when.in_force(monday + 4 * HOUR_US), "the end is not included");
        assert!(!when.in_force(monday + DAY_US + HOUR_US), "a holiday");
        assert!(!when.in_force(monday - 2 * DAY_US + HOUR_US), "a Saturday");
        assert!(when.in_force(monday - 3 * DAY_US + HOUR_US), "a Friday");
        assert!(!when.in_force(monday - 8 * DAY_US + HOUR_US), "too early");
    }

    #[test]
    fn the_usual_tiers_have_many_names() {
        for usual in ["default", "STANDARD", "ON_DEMAND", "auto", ""] {
            assert_eq!(extra_tier(usual), None);
        }
        assert_eq!(extra_tier("ON_DEMAND_PRIORITY"), Some("PRIORITY"));
        assert_eq!(extra_tier("batch"), Some("batch"));
    }
}
