//! Percentiles in little memory: counts of values in buckets that grow with what they hold. Two sketches merge
//! into the one that all their values would have made.

/// Counts of values in buckets 1/16 of an octave wide: a percentile is off by 1/32 at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sketch(Vec<(u16, u64)>);

impl Sketch {
    /// Of one value; what is below zero counts as zero.
    pub(crate) fn of(value: i64) -> Self {
        Self(vec![(bucket(value.max(0).cast_unsigned()), 1)])
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for &(bucket, n) in &other.0 {
            match self.0.binary_search_by_key(&bucket, |&(b, _)| b) {
                Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(n),
                Err(at) => self.0.insert(at, (bucket, n)),
            }
        }
    }

    /// Its buckets in their order, each with the number of values in it.
    pub(crate) fn buckets(&self) -> &[(u16, u64)] {
        &self.0
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a bucket after all that are there.
    pub(crate) fn push(&mut self, bucket: u16, n: u64) {
        self.0.push((bucket, n));
    }
}

/// Many sketches in one, for reading a percentile off.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    count: u64,
}

impl Histogram {
    pub(crate) fn add(&mut self, sketch: &Sketch) {
        for &(bucket, n) in &sketch.0 {
            let at = usize::from(bucket.min(LAST));
            if at >= self.counts.len() {
                self.counts.resize(usize::from(LAST) + 1, 0);
            }
            self.counts[at] = self.counts[at].saturating_add(n);
            self.count = self.count.saturating_add(n);
        }
    }

    /// Adds what another was given.
    pub(crate) fn join(&mut self, other: &Self) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        for (sum, &n) in self.counts.iter_mut().zip(&other.counts) {
            *sum = sum.saturating_add(n);
        }
        self.count = self.count.saturating_add(other.count);
    }

    /// The value that `percent` of the values do not exceed; `None` if there are none.
    pub(crate) fn percentile(&self, percent: u64) -> Option<u64> {
        let rank = u128::from(self.count) * u128::from(percent);
        let rank = rank.div_ceil(100).max(1);
        let mut seen = 0_u128;
        (0..).zip(&self.counts).find_map(|(bucket, &count)| {
            seen += u128::from(count);
            (seen >= rank).then(|| middle(bucket))
        })
    }
}

/// The bucket of the largest value.
const LAST: u16 = 60 * 16 + 15;

/// Values below 16 have a bucket each; above, the top five bits decide.
pub(crate) fn bucket(value: u64) -> u16 {
    let exponent = (value | 15).ilog2();
    let shift = exponent.saturating_sub(4);
    let mantissa = value >> shift;
    u16::try_from(u64::from(shift) * 16 + mantissa).unwrap_or(LAST)
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn percentiles_are_within_their_bound_however_sketches_were_merged(
            mut values in prop::collection::vec(prop_oneof![0..100_i64, 0..i64::MAX, 1_000_000..2_000_000_i64], 1..200),
            parts in 1..9_usize,
        ) {
            let mut sketches = vec![Sketch::default(); parts];
            for (i, &value) in values.iter().enumerate() {
                sketches[i % parts].merge(&Sketch::of(value));
            }
            let mut all = Histogram::default();
            for sketch in &sketches {
                all.add(sketch);
            }
            values.sort_unstable();
            for percent in [1, 50, 95, 99, 100_u64] {
                let rank = (values.len() as u64 * percent).div_ceil(100).max(1);
                let exact = values[usize::try_from(rank - 1).unwrap_or(0)].cast_unsigned();
                let found = all.percentile(percent).unwrap_or_default();
                prop_assert!(
                    u128::from(found.abs_diff(exact)) * 32 <= exact.into(),
                    "p{}: {}, not {}", percent, found, exact
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
        assert!(last <= LAST, "{last}");
    }
}
