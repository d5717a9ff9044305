//! Exact money: integer pico-dollars, so that a sum never drifts.
//!
//! Every published price is a whole number of pico-dollars per token
//! (1 USD per million tokens = 1,000,000 pico-dollars per token).

use std::{fmt, iter::Sum, ops::Add, ops::AddAssign, str::FromStr};

use crate::error::{Error, Kind};

/// An amount of US dollars, exact to 10⁻¹² USD.
///
/// ```
/// use payi_core::money::Money;
///
/// let price = Money::from_pico(2_500_000); // USD 2.50 per million tokens, for one token
/// let cost = price.times(1_234);
/// assert_eq!(cost.to_string(), "0.003085");
/// assert_eq!("0.003085".parse::<Money>()?, cost);
/// # Ok::<(), payi_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i128);

const PICO: i128 = 1_000_000_000_000;
const DIGITS: usize = 12;

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount in pico-dollars (10⁻¹² USD).
    pub const fn from_pico(pico: i128) -> Self {
        Self(pico)
    }

    /// The amount in pico-dollars (10⁻¹² USD).
    pub const fn pico(self) -> i128 {
        self.0
    }

    /// The amount, `count` times; stops at the largest amount instead of wrapping round.
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count as i128))
    }

    /// The amount in pico-dollars as one fact of the ledger holds it, if it fits (9.2 million USD).
    pub fn to_fact(self) -> Option<i64> {
        i64::try_from(self.0).ok()
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// Plain decimal USD with every digit that is not a trailing zero, as JSON and CSV carry it.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let (whole, pico) = (magnitude / PICO as u128, magnitude % PICO as u128);
        let fraction = format!("{pico:0DIGITS$}");
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        // Like a number, to the right of its column where there is a width.
        f.pad_integral(self.0 >= 0, "", &format!("{whole}{point}{fraction}"))
    }
}

/// Reads plain decimal USD (`"12"`, `"0.003085"`); more than 12 decimals are refused, not rounded.
impl FromStr for Money {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || {
            Error::new(
                Kind::Config,
                "an amount is written as plain decimal US dollars with at most 12 decimals, such as \"0.003085\"",
            )
        };
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > DIGITS {
            return Err(refuse());
        }
        let whole: i128 = whole.parse().map_err(|_| refuse())?;
        let fraction: i128 = format!("{fraction:0<DIGITS$}").parse().map_err(|_| refuse())?;
        whole
            .checked_mul(PICO)
            .and_then(|w| w.checked_add(fraction))
            .map(|amount| Self(sign * amount))
            .ok_or_else(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::Money;

    #[test]
    fn shows_every_digit_and_reads_it_back() {
        for (pico, text) in [
            (0, "0"),
            (1, "0.000000000001"),
            (-1, "-0.000000000001"),
            (1_500_000_000_000, "1.5"),
            (-2_000_000_000_000, "-2"),
            (1_234_567_000_000_000_089, "1234567.000000000089"),
        ] {
            assert_eq!(Money::from_pico(pico).to_string(), text);
            assert_eq!(text.parse::<Money>().ok(), Some(Money::from_pico(pico)), "{text}");
        }
    }

    #[test]
    fn refuses_what_it_would_have_to_round_or_guess() {
        for text in ["", ".", "1e3", "+1", " 1", "0.0000000000001", "1,5", "--1", "9".repeat(60).as_str()] {
            assert!(text.parse::<Money>().is_err(), "{text}");
        }
    }
}
