//! Whole numbers in as few bytes as they need, lowest seven bits first.

/// Appends a number.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// A number that may be negative as one that is not: small ones stay small.
pub(crate) fn zigzag(n: i128) -> u128 {
    ((n << 1) ^ (n >> 127)).cast_unsigned()
}

/// The same, for numbers that are not negative.
#[inline]
pub(crate) fn int(from: &mut &[u8]) -> Option<i64> {
    i64::try_from(uint(from)?).ok()
}

/// The number that [`zigzag`] was given, if it fits.
pub(crate) fn unzigzag(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -(n & 1).cast_signed()
}

/// The next number, if there is one and it fits.
#[inline]
pub(crate) fn uint(from: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = from.split_first()?;
    if first < 0x80 {
        *from = rest;
        return Some(first.into());
    }
    short(from).or_else(|| u64::try_from(long(from)?).ok())
}

/// The same, of twice the width.
#[inline]
pub(crate) fn wide(from: &mut &[u8]) -> Option<u128> {
    short(from).map(u128::from).or_else(|| long(from))
}

/// Nearly all numbers fit nine bytes, where 64-bit arithmetic is several times faster.
#[inline]
fn short(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (i, &byte) in from.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *from = from.get(i + 1..)?;
            return Some(value);
        }
    }
    None
}

fn long(from: &mut &[u8]) -> Option<u128> {
    let mut value = 0_u128;
    for (i, &byte) in from.iter().enumerate().take(19) {
        value |= u128::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *from = from.get(i + 1..)?;
            return Some(value);
        }
    }
    None
}
