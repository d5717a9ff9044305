//! Percentiles in little memory: a histogram whose buckets grow with what they hold.

use std::collections::BTreeMap;

/// Counts of values in buckets 1/16 of an octave wide: a percentile is off by 3 % at most.
#[derive(Clone, Debug, Default)]
pub(super) struct Sketch {
    buckets: BTreeMap<u16, u64>,
    count: u64,
}

impl Sketch {
    pub(super) fn add(&mut self, value: i64) {
        *self.buckets.entry(bucket(value.max(0).cast_unsigned())).or_default() += 1;
        self.count += 1;
    }

    /// The value that `percent` of the values do not exceed; `None` if there are none.
    pub(super) fn percentile(&self, percent: u64) -> Option<u64> {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        self.buckets.iter().find_map(|(&bucket, &count)| {
            seen += count;
            (seen >= rank).then(|| middle(bucket))
        })
    }
}

/// Values below 16 have a bucket each; above, the top five bits decide.
fn bucket(value: u64) -> u16 {
    let exponent = (value | 15).ilog2();
    let shift = exponent.saturating_sub(4);
    let mantissa = value >> shift;
    u16::try_from(u64::from(shift) * 16 + mantissa).unwrap_or(u16::MAX)
}

fn middle(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < 32 {
        return bucket;
    }
    let shift = bucket / 16 - 1;
    let low = (16 + bucket % 16) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_their_bound() {
        for scale in [1_i64, 7, 1_000, 123_456_789] {
            let mut sketch = Sketch::default();
            (1..=1000).for_each(|n| sketch.add(n * scale));
            for percent in [1_u64, 50, 95, 99, 100] {
                let exact = percent * 10 * scale.cast_unsigned();
                let found = sketch.percentile(percent).unwrap_or_default();
                assert!(
                    found.abs_diff(exact) * 100 <= exact * 4,
                    "p{percent} of {scale}: {found}, not {exact}"
                );
            }
        }
    }

    #[test]
    fn buckets_grow_without_gaps() {
        let mut last = 0;
        for value in (0..4096).chain([u64::MAX / 3, u64::MAX]) {
            let found = bucket(value);
            assert!(found >= last, "{value}");
            assert!(value > 4096 || found <= last + 1, "{value}");
            last = found;
        }
    }
}
