//! Figures as people read them. Money is never rounded here, except where a `≈` says so.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, tz::TimeZone};
use payi_core::{ledger::read::Totals, money::Money};

/// Decimals every amount shows at least.
const DECIMALS: usize = 6;

/// Every digit, at least six decimals, thousands apart: `1,234.567800`.
pub(crate) fn money(amount: Money) -> String {
    let text = amount.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", &*text), |rest| ("−", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    format!("{sign}{}.{fraction:0<DECIMALS$}", thousands(whole))
}

/// What was spent, by what is known of it: where nothing is, that is not the same as nothing spent.
pub(crate) fn spent(totals: &Totals) -> String {
    match (totals.cost, totals.unpriced_calls) {
        (Money::ZERO, 1..) => "unpriced".into(),
        (cost, _) => money(cost),
    }
}

/// How many decimals [`money`] shows.
pub(crate) fn decimals(amount: Money) -> usize {
    amount.to_string().split_once('.').map_or(0, |(_, fraction)| fraction.len()).max(DECIMALS)
}

/// The same with as many figure spaces behind as make the points of a column stand below each other.
pub(crate) fn aligned(amount: Money, decimals_of_column: usize) -> String {
    let pad = decimals_of_column.saturating_sub(decimals(amount));
    format!("{}{}", money(amount), "\u{2007}".repeat(pad))
}

/// Three significant digits: `12.3`, `0.00123`.
pub(crate) fn about(amount: Money) -> String {
    let pico = amount.pico();
    let (sign, magnitude) = (if pico < 0 { "−" } else { "" }, pico.unsigned_abs());
    let digits = magnitude.to_string().len();
    let unit = 10_u128.pow(u32::try_from(digits.saturating_sub(3).min(10)).unwrap_or(10));
    let rounded = (magnitude + unit / 2) / unit * unit;
    let text = Money::from_pico(i128::try_from(rounded).unwrap_or(i128::MAX)).to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    if fraction.is_empty() {
        format!("{sign}{}", thousands(whole))
    } else {
        format!("{sign}{}.{fraction}", thousands(whole))
    }
}

/// `1 call`, `1,234 calls`.
pub(crate) fn calls(n: u64) -> String {
    format!("{} {}", count(n), if n == 1 { "call" } else { "calls" })
}

/// `1234567` → `1,234,567`.
pub(crate) fn count(n: u64) -> String {
    thousands(&n.to_string())
}

fn thousands(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1234567` → `1.23 M`: for places where the exact number is a hover away.
pub(crate) fn short(n: u64) -> String {
    let (unit, name) = match n {
        0..10_000 => return count(n),
        10_000..1_000_000 => (1_000, "k"),
        1_000_000..1_000_000_000 => (1_000_000, "M"),
        _ => (1_000_000_000, "G"),
    };
    let (whole, rest) = (n / unit, n % unit);
    match whole {
        0..10 => format!("{whole}.{:02} {name}", rest * 100 / unit),
        10..100 => format!("{whole}.{} {name}", rest * 10 / unit),
        _ => format!("{} {name}", count(whole)),
    }
}

/// A share in per cent with one decimal: `61.3 %`; `—` of nothing.
pub(crate) fn share(part: Money, whole: Money) -> String {
    permille(part.pico(), whole.pico())
        .map_or_else(|| "—".into(), |n| format!("{}.{} %", n / 10, (n % 10).abs()))
}

/// The same of counts.
pub(crate) fn share_of(part: u64, whole: u64) -> String {
    permille(part.into(), whole.into()).map_or_else(|| "—".into(), |n| format!("{}.{} %", n / 10, n % 10))
}

pub(crate) fn permille(part: i128, whole: i128) -> Option<i128> {
    (whole > 0).then(|| (part.saturating_mul(2000) + whole) / (2 * whole))
}

/// A change against before: `+12 %`, `new`, or nothing to compare with.
pub(crate) fn change(now: Money, before: Option<Money>) -> Change {
    let Some(before) = before else { return Change { text: String::new(), class: "flat" } };
    let (now, before) = (now.pico(), before.pico());
    let class = match now.cmp(&before) {
        std::cmp::Ordering::Greater => "up",
        std::cmp::Ordering::Less => "down",
        std::cmp::Ordering::Equal => "flat",
    };
    let text = match (before, now) {
        (0, 0) => "—".into(),
        (0, _) => "new".into(),
        _ => {
            let percent = (now - before).saturating_mul(100) / before;
            if percent == 0 {
                return Change { text: "±0 %".into(), class: "flat" };
            }
            if percent > 999 { "> +999 %".into() } else { format!("{percent:+} %").replace('-', "−") }
        }
    };
    Change { text, class }
}

/// A change in words, and how it is to be coloured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) text: String,
    pub(crate) class: &'static str,
}

/// `850 ms`, `1.24 s`, `2 min 3 s`.
pub(crate) fn duration(d: Duration) -> String {
    let ms = d.as_millis();
    match ms {
        0 => format!("{} µs", d.as_micros()),
        1..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{:02} s", ms / 1000, ms % 1000 / 10),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

/// `2026-11-23 20:59:59` in the zone.
pub(crate) fn moment(at: SystemTime, zone: &TimeZone) -> String {
    written(at, zone, "%Y-%m-%d %H:%M:%S")
}

/// `11-23 20:59:07`, where there is no room for the year.
pub(crate) fn within_year(at: SystemTime, zone: &TimeZone) -> String {
    written(at, zone, "%m-%d %H:%M:%S")
}

/// `23 Nov 20:59`.
pub(crate) fn brief(at: SystemTime, zone: &TimeZone) -> String {
    written(at, zone, "%-d %b %H:%M")
}

fn written(at: SystemTime, zone: &TimeZone, format: &str) -> String {
    Timestamp::try_from(at)
        .map_or_else(|_| "—".into(), |at| at.to_zoned_datetime(zone.clone()).strftime(format).to_string())
}

/// A time as JSON and CSV carry it.
pub(crate) fn iso(at: SystemTime) -> String {
    Timestamp::try_from(at).map_or_else(|_| String::new(), |at| at.to_string())
}

/// The beginning of a text from outside, with nothing in it that would change how the rest reads.
pub(crate) fn whole(text: &str) -> String {
    payi_core::ledger::read::inert(&text.chars().take(2_000).collect::<String>())
}

/// A text from outside, cut so that it cannot push a page apart; the whole of it is in the title.
pub(crate) fn clipped(text: &str) -> String {
    const MOST: usize = 80;
    // Cut twice: an escaped character is longer than itself, and 10 kB need not be escaped to show 80.
    let head: String = text.chars().take(MOST + 1).collect();
    let text = payi_core::ledger::read::inert(&head);
    let mut chars = text.chars();
    let mut out: String = chars.by_ref().take(MOST).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_keeps_every_digit() {
        for (pico, text) in [
            (0, "0.000000"),
            (1_234_567_000_000_000_089, "1,234,567.000000000089"),
            (-1_500_000_000_000, "−1.500000"),
            (3_085_000_000, "0.003085"),
        ] {
            assert_eq!(money(Money::from_pico(pico)), text);
        }
        assert_eq!(aligned(Money::from_pico(3_085_000_000), 8), "0.003085\u{2007}\u{2007}");
    }

    #[test]
    fn what_is_rounded_is_rounded_to_the_nearest() {
        assert_eq!(about(Money::from_pico(1_234_567_000_000)), "1.23");
        assert_eq!(about(Money::from_pico(1_239_000_000)), "0.00124");
        assert_eq!(about(Money::from_pico(12_345_678_000_000_000)), "12,345.68");
        assert_eq!(share(Money::from_pico(1), Money::from_pico(3)), "33.3 %");
        assert_eq!(short(1_234_567), "1.23 M");
        assert_eq!(change(Money::from_pico(150), Some(Money::from_pico(100))).text, "+50 %");
        assert_eq!(change(Money::from_pico(50), Some(Money::from_pico(100))).text, "−50 %");
    }
}
