//! Event ids as integers: how 128 bits become one key that grows with time, without losing one.

use uuid::Uuid;

/// 2020-01-01 in milliseconds since 1970.
const EPOCH_MS: u64 = 1_577_836_800_000;

/// How many slots are tried before an id is taken for hostile.
pub(crate) const PROBES: i64 = 256;

/// An id as two integers, as SQLite holds them.
pub(crate) fn halves(id: Uuid) -> (i64, i64) {
    let (hi, lo) = id.as_u64_pair();
    (hi.cast_signed(), lo.cast_signed())
}

/// The id of two integers.
pub(crate) fn join(hi: i64, lo: i64) -> Uuid {
    Uuid::from_u64_pair(hi.cast_unsigned(), lo.cast_unsigned())
}

/// The first slot of an id in `event_ids`.
///
/// A version 7 id keeps its time in front: 41 bits of milliseconds since 2020, so that new ids go to the
/// end of the tree, and 22 bits mixed from all the others, because generators fill those with a counter
/// as often as with random bits. Any other id is hashed into the negative half.
pub(crate) fn fold(id: Uuid) -> i64 {
    let (hi, lo) = id.as_u64_pair();
    let ms = hi >> 16;
    match ms.checked_sub(EPOCH_MS) {
        Some(since) if id.get_version_num() == 7 && since < 1 << 41 => {
            ((since << 22) | (mix(lo ^ mix(hi & 0xfff)) >> 42)).cast_signed()
        }
        _ => -1 - (mix(hi ^ mix(lo)) >> 2).cast_signed(),
    }
}

/// The slot to try after `k`.
pub(crate) fn next_slot(k: i64) -> i64 {
    k.checked_add(1).unwrap_or(i64::MIN / 2)
}

/// The id of the fact that corrects the fact of `id`: the same id, marked as version 8 (RFC 9562: custom).
pub(crate) fn correction(id: Uuid) -> Uuid {
    let (hi, lo) = id.as_u64_pair();
    Uuid::from_u64_pair((hi & !0xf000) | 0x8000, lo)
}

/// The event id that a correction's id was made of (see [`is_correction`](crate::ledger::is_correction)).
pub fn corrected(id: Uuid) -> Uuid {
    let (hi, lo) = id.as_u64_pair();
    Uuid::from_u64_pair((hi & !0xf000) | 0x7000, lo)
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
pub(crate) fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A stable 64-bit hash of a text (FNV-1a, finalised), for keys that are stored.
pub(crate) fn hash_text(text: &str) -> i64 {
    let fnv =
        text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    mix(fnv).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Clock as _, SystemClock};

    #[test]
    fn ids_of_one_millisecond_spread_over_its_slots() {
        // `now_v7`, which others use, counts within a millisecond: neighbours differ in one low bit.
        let makers: [fn() -> Uuid; 2] = [Uuid::now_v7, || SystemClock.id(SystemClock.now())];
        for make in makers {
            let ids: Vec<Uuid> = (0..2000).map(|_| make()).collect();
            let slots: std::collections::HashSet<i64> = ids.iter().map(|&id| fold(id)).collect();
            assert!(slots.len() > 1990, "{}", slots.len());
        }
    }

    #[test]
    fn later_ids_fold_to_later_slots_and_halves_give_the_id_back() {
        let ids: Vec<Uuid> = (0..1000).map(|_| Uuid::now_v7()).collect();
        assert!(ids.windows(2).all(|w| fold(w[0]) >> 22 <= fold(w[1]) >> 22), "order of time is kept");
        for id in ids {
            let (hi, lo) = halves(id);
            assert_eq!(join(hi, lo), id);
            assert!(fold(id) > 0);
            assert_ne!(correction(id), id);
        }
        assert!(fold(Uuid::new_v4()) < 0, "ids without time in front keep out of the way");
    }
}
