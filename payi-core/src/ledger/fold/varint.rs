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
    let (value, rest) = match **from {
        [first, ref rest @ ..] if first < 0x80 => (first.into(), rest),
        _ => match short(from) {
            Some(found) => found,
            None => long(from).and_then(|(value, rest)| Some((u64::try_from(value).ok()?, rest)))?,
        },
    };
    *from = rest;
    Some(value)
}

/// The same, of twice the width.
#[inline]
pub(crate) fn wide(from: &mut &[u8]) -> Option<u128> {
    let (value, rest) = match short(from) {
        Some((value, rest)) => (value.into(), rest),
        None => long(from)?,
    };
    *from = rest;
    Some(value)
}

/// Nearly all numbers fit eight bytes, which are read as one word where there are as many. Also the rest.
#[inline]
fn short(from: &[u8]) -> Option<(u64, &[u8])> {
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(*from.first_chunk()?);
    // The number ends with the first byte whose top bit is not set.
    let ends = !word & TOPS;
    if ends == 0 {
        return None;
    }
    let bits = word & (ends ^ (ends - 1)) & !TOPS;
    // Seven bits of each byte, moved together two by two.
    let bits = (bits & 0x7f00_7f00_7f00_7f00) >> 1 | bits & 0x007f_007f_007f_007f;
    let bits = (bits & 0x3fff_0000_3fff_0000) >> 2 | bits & 0x0000_3fff_0000_3fff;
    let bits = (bits & 0x0fff_ffff_0000_0000) >> 4 | bits & 0x0000_0000_0fff_ffff;
    Some((bits, from.get(ends.trailing_zeros() as usize / 8 + 1..)?))
}

/// Larger ones, and the last of a column.
fn long(from: &[u8]) -> Option<(u128, &[u8])> {
    let mut value = 0_u128;
    for (i, &byte) in from.iter().enumerate().take(19) {
        value |= u128::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, from.get(i + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read_at_every_width_whatever_comes_after_and_nothing_that_is_cut_off() {
        let edges = (0..=128).flat_map(|bits| {
            let first = 1_u128.checked_shl(bits).unwrap_or(u128::MAX);
            [first.wrapping_sub(1), first, first | 1]
        });
        for value in edges.filter(|value| *value < 1 << 127) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            for behind in 0..10 {
                let mut from = &[&*bytes, &vec![0xff; behind]].concat()[..];
                assert_eq!(wide(&mut from), Some(value), "{value:x}");
                assert_eq!(from.len(), behind);
                let mut from = &[&*bytes, &vec![0x80; behind]].concat()[..];
                assert_eq!(uint(&mut from), u64::try_from(value).ok(), "{value:x}");
                let mut from = &*bytes;
                assert_eq!(int(&mut from), i64::try_from(value).ok(), "{value:x}");
            }
            for end in 0..bytes.len() {
                let mut from = &bytes[..end];
                assert_eq!((wide(&mut from), from.len()), (None, end), "{value:x}");
            }
        }
    }

    #[test]
    fn small_numbers_of_either_sign_stay_small() {
        for n in [0, -1, 1, 63, -64, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            put(&mut bytes, zigzag(n.into()));
            assert_eq!(uint(&mut &*bytes).map(unzigzag), Some(n));
            assert!(bytes.len() == 1 || n.unsigned_abs() > 63, "{n}");
        }
    }
}
