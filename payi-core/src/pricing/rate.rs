//! A price per unit and the exact arithmetic of many of them: integers, rounded once per call.

use std::num::NonZeroU32;

use crate::{money::Money, usage::Bucket};

/// How many things have a price of their own: every bucket, and the request itself.
pub(super) const KEYS: usize = Bucket::ALL.len() + 1;

/// The key of the fee that some providers take for each request.
pub(super) const REQUEST: usize = Bucket::ALL.len();

/// What a price is quoted for: how many of the bucket's units, and what people call that many.
pub(super) const fn quoted(key: usize) -> (u32, &'static str) {
    if key == REQUEST {
        return (1_000, "thousand requests");
    }
    match Bucket::ALL[key] {
        Bucket::WebSearches | Bucket::FileSearches | Bucket::SearchUnits => (1_000, "thousand"),
        Bucket::Pages => (1_000, "thousand pages"),
        Bucket::AudioMillis => (3_600_000, "hour"),
        Bucket::Images => (1, "image"),
        Bucket::Characters => (1_000_000, "million characters"),
        _ => (1_000_000, "million tokens"),
    }
}

/// The key's name in the book, in TOML and in tables.
pub(super) const fn key_name(key: usize) -> &'static str {
    if key == REQUEST { "requests" } else { Bucket::ALL[key].name() }
}

/// The key of a name, if it is one.
pub(super) fn key_of(name: &str) -> Option<usize> {
    (0..KEYS).find(|&key| key_name(key) == name)
}

/// What each of `per` units costs together. Published prices are whole pico-dollars per token, so
/// `per` is 1 but for the few that are quoted per hour, or as a third of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Price {
    pub(super) pico: i64,
    pub(super) per: NonZeroU32,
}

impl Price {
    /// Reads `"2.5"`, or `"0.25/3"` where the decimal does not end, as US dollars for `units` units.
    pub(super) fn read(text: &str, units: u32) -> Option<Self> {
        let (decimal, divisor) = text.split_once('/').unwrap_or((text, "1"));
        let divisor: u32 = divisor.parse().ok().filter(|&d| d > 0)?;
        let usd: Money = decimal.parse().ok().filter(|&usd: &Money| usd >= Money::ZERO)?;
        let units = i128::from(units) * i128::from(divisor);
        let common = gcd(usd.pico(), units);
        Some(Self {
            pico: i64::try_from(usd.pico() / common).ok()?,
            per: u32::try_from(units / common).ok().and_then(NonZeroU32::new)?,
        })
    }

    /// Orders by what one unit costs.
    pub(super) fn cmp_unit(self, other: Self) -> std::cmp::Ordering {
        let times = |a: Self, b: Self| i128::from(a.pico) * i128::from(b.per.get());
        times(self, other).cmp(&times(other, self))
    }
}

/// A price, and the prices that replace it for the whole request where its input is long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) base: Price,
    /// Ascending by `over`.
    pub(super) steps: Box<[Step]>,
}

/// The price of requests with more than `over` input tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// One less than the threshold where the vendor says "from", the threshold where it says "above".
    pub(super) over: u64,
    pub(super) price: Price,
}

impl Rate {
    /// The price for a request with that many input tokens in all.
    pub(super) fn at(&self, input_tokens: u64) -> Price {
        self.steps.iter().rev().find(|step| input_tokens > step.over).map_or(self.base, |step| step.price)
    }
}

/// A factor such as 11/10, for regions that cost more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Factor {
    pub(super) num: NonZeroU32,
    pub(super) den: NonZeroU32,
}

impl Factor {
    pub(super) const ONE: Self = Self { num: NonZeroU32::MIN, den: NonZeroU32::MIN };

    /// Reads `"11/10"`, or `"1.1"` as a decimal.
    pub(super) fn read(text: &str) -> Option<Self> {
        if let Some((num, den)) = text.split_once('/') {
            return Some(Self { num: num.parse().ok()?, den: den.parse().ok()? });
        }
        let one: Money = Money::from_pico(1_000_000_000_000);
        let value: Money = text.parse().ok()?;
        let common = gcd(value.pico(), one.pico());
        let part = |n: i128| u32::try_from(n / common).ok().and_then(NonZeroU32::new);
        Some(Self { num: part(value.pico())?, den: part(one.pico())? })
    }
}

/// A running sum of pico-dollars as a fraction, so that only the end is rounded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sum {
    num: i128,
    den: i128,
}

impl Sum {
    pub(super) const ZERO: Self = Self { num: 0, den: 1 };

    /// Adds `count` units. Absurd counts stop at the largest sum instead of wrapping round.
    pub(super) fn add(&mut self, count: u64, price: Price, factor: Factor) {
        let pico = i128::from(count)
            .saturating_mul(i128::from(price.pico))
            .saturating_mul(i128::from(factor.num.get()));
        let den = i128::from(price.per.get()) * i128::from(factor.den.get());
        if den == self.den {
            self.num = self.num.saturating_add(pico);
            return;
        }
        let common = gcd(den, self.den);
        let (left, right) = (den / common, self.den / common);
        self.num = self.num.saturating_mul(left).saturating_add(pico.saturating_mul(right));
        self.den = self.den.saturating_mul(left);
    }

    /// The sum so far to the nearest pico-dollar, halves to even.
    pub(super) fn round(self) -> Money {
        let (whole, rest) = (self.num.div_euclid(self.den), self.num.rem_euclid(self.den));
        let up = match rest.cmp(&(self.den - rest)) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => whole % 2 != 0,
            std::cmp::Ordering::Greater => true,
        };
        Money::from_pico(whole + i128::from(up))
    }
}

const fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    if a == 0 { 1 } else { a }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn reads_decimals_exactly() {
        let read = |text, units| Price::read(text, units).map(|p| (p.pico, p.per.get()));
        assert_eq!(read("2.5", 1_000_000), Some((2_500_000, 1)));
        assert_eq!(read("0.003625", 1_000_000), Some((3_625, 1)));
        assert_eq!(read("0", 1_000_000), Some((0, 1)));
        assert_eq!(read("0.25/3", 1_000_000), Some((250_000, 3)));
        assert_eq!(read("0.111", 3_600_000), Some((92_500, 3)));
        for bad in ["", "-1", "1/0", "1e3", "x", "99999999999"] {
            assert_eq!(read(bad, 1), None, "{bad}");
        }
    }

    #[test]
    fn rounds_once_and_halves_to_even() {
        let third = Price::read("0.000000000001/3", 1).unwrap();
        let half = Price::read("0.000000000001/2", 1).unwrap();
        let sum = |counts: &[(u64, Price)]| {
            let mut sum = Sum::ZERO;
            for &(n, p) in counts {
                sum.add(n, p, Factor::ONE);
            }
            sum.round().pico()
        };
        assert_eq!(sum(&[(3, third)]), 1);
        assert_eq!(sum(&[(1, third), (1, third), (1, third)]), 1, "not three times zero");
        assert_eq!([1, 3, 5].map(|n| sum(&[(n, half)])), [0, 2, 2]);
        assert_eq!(sum(&[(1, half), (1, third)]), 1);
    }

    #[test]
    fn absurd_counts_stop_at_the_top() {
        let dear = Price::read("1000000", 1).unwrap();
        let mut sum = Sum::ZERO;
        for per in [1, 3, 7, 3_600_000] {
            let price = Price { per: NonZeroU32::new(per).unwrap(), ..dear };
            sum.add(u64::MAX, price, Factor::read("11/10").unwrap());
        }
        assert!(sum.round() > Money::ZERO);
    }

    #[test]
    fn a_step_prices_the_whole_request() {
        let step = |over, usd| Step { over, price: Price::read(usd, 1).unwrap() };
        let rate = Rate {
            base: Price::read("1", 1).unwrap(),
            steps: [step(199_999, "2"), step(272_000, "4")].into(),
        };
        let usd = |n| rate.at(n).pico / 1_000_000_000_000;
        assert_eq!([0, 199_999, 200_000, 272_000, 272_001].map(usd), [1, 1, 2, 2, 4]);
    }
}
