//! Prices as text. A price is never calculated with here: its shortest decimal is what was published.

use serde_json::{Number, Value};

/// The book's text of a price in USD per million (thousand, hour).
///
/// Upstream holds a few sums of binary floating point (`0.18000000000000002`, `0.0833333333333333`):
/// those are a decimal of at most six digits, or a third of one of at most three; nothing else is guessed.
pub(crate) fn text(price: &Number) -> Result<String, String> {
    let plain = plain(&price.to_string())?;
    let decimals = plain.split_once('.').map_or(0, |(_, d)| d.len());
    if decimals <= 8 {
        return Ok(plain);
    }
    let rounded = round(&plain, 6)?;
    if near(&plain, &rounded) {
        return Ok(rounded);
    }
    let threefold = round(&triple(&plain)?, 6)?;
    if near(&triple(&plain)?, &threefold) {
        return Ok(format!("{threefold}/3"));
    }
    Err(format!("{price} is neither a short decimal nor a third of one"))
}

/// The decimal text of any number.
pub(crate) fn number(value: &Value) -> Result<String, String> {
    match value {
        Value::Number(number) => plain(&number.to_string()),
        other => Err(format!("{other} is not a price")),
    }
}

/// A price multiplied, without the noise of binary floating point that it came with.
pub(crate) fn times(price: &str, factor: u32) -> Result<String, String> {
    let exact = unscaled(scaled(price)?.checked_mul(factor.into()).ok_or("too dear")?);
    let rounded = round(&exact, 6)?;
    Ok(if near(&exact, &rounded) { rounded } else { round(&exact, 12)? })
}

/// Without an exponent.
fn plain(text: &str) -> Result<String, String> {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        return Ok(text.strip_suffix(".0").unwrap_or(text).to_owned());
    };
    let shift: usize =
        exponent.strip_prefix('-').and_then(|e| e.parse().ok()).ok_or("an exponent above zero")?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{whole}{fraction}", "0".repeat(shift));
    let (left, right) = digits.split_at(digits.len() - fraction.len() - shift);
    let left = left.trim_start_matches('0');
    Ok(format!("{}.{right}", if left.is_empty() { "0" } else { left }).trim_end_matches(".0").to_owned())
}

const SCALE: usize = 24;

fn scaled(text: &str) -> Result<u128, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = &fraction[..fraction.len().min(SCALE)];
    let digits = format!("{whole}{fraction:0<SCALE$}");
    digits.parse().map_err(|_| format!("{text} is not a price"))
}

fn unscaled(value: u128) -> String {
    let one = 10_u128.pow(24);
    let text = format!("{}.{:024}", value / one, value % one);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn round(text: &str, decimals: u32) -> Result<String, String> {
    let unit = 10_u128.pow(24 - decimals);
    Ok(unscaled((scaled(text)? + unit / 2) / unit * unit))
}

fn triple(text: &str) -> Result<String, String> {
    Ok(unscaled(scaled(text)? * 3))
}

/// Equal to one part in a trillion: what is left of a sum in binary floating point.
fn near(a: &str, b: &str) -> bool {
    let (Ok(a), Ok(b)) = (scaled(a), scaled(b)) else { return false };
    a.abs_diff(b) <= a / 1_000_000_000_000
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn puts_noise_right_and_nothing_else() {
        let text = |json: &str| text(&json.parse::<Number>().unwrap());
        for (json, price) in [
            ("3", "3"),
            ("2.5", "2.5"),
            ("0.003625", "0.003625"),
            ("0.18000000000000002", "0.18"),
            ("0.13999999999999999", "0.14"),
            ("0.0833333333333333", "0.25/3"),
            ("0.04166666666666665", "0.125/3"),
            ("2e-7", "0.0000002"),
        ] {
            assert_eq!(text(json).unwrap(), price);
        }
        assert!(text("0.123456789012").is_err());
        assert_eq!(times("0.00000015", 1_000_000).unwrap(), "0.15");
        assert_eq!(times("0.00000018000000000000002", 1_000_000).unwrap(), "0.18");
        assert_eq!(times("0.0001", 3_600).unwrap(), "0.36");
    }
}
