//! A fact with every dimension a report may split by, read in the order of commits.

use rusqlite::{Connection, Row};

use crate::{
    events::Outcome,
    ledger::{
        read::Totals,
        rows::time,
        stored::{outcome, source},
    },
    money::Money,
    pricing::CostSource,
};

/// What of a fact reports read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wide {
    pub(super) at_us: i64,
    pub(super) user: i64,
    pub(super) account: i64,
    pub(super) use_case: i64,
    pub(super) version: i64,
    pub(super) step: i64,
    pub(super) provider: i64,
    pub(super) model: i64,
    pub(super) outcome: Outcome,
    pub(super) error: i64,
    /// Whether it is how its call ended, as far as is known.
    pub(super) counts: bool,
    /// Whether it is an attempt of its own, not the correction of one.
    pub(super) original: bool,
    pub(super) cost: i64,
    pub(super) source: CostSource,
    /// Something was used, and nobody knows what it cost.
    pub(super) unpriced: bool,
    pub(super) latency_us: i64,
    pub(super) tokens: [i64; 5],
}

const SELECT: &str =
    "SELECT f.at_us, f.user, f.account, p.use_case, p.version, p.step, r.provider, r.model, f.outcome,
   f.error, s.seq IS NULL, f.corrects IS NULL, f.cost, f.cost_source, f.latency_us,
   f.input + f.audio_input + f.image_input + f.video_input,
   f.cache_read + f.audio_cache_read + f.image_cache_read, f.cache_write + f.cache_write_1h,
   f.output + f.audio_output + f.image_output, f.reasoning
 FROM facts f JOIN purposes p ON p.id = f.purpose JOIN routes r ON r.id = f.route
 LEFT JOIN superseded s ON s.seq = f.seq
 WHERE f.at_us >= ?1 AND f.at_us < ?2";

impl Wide {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let mut tokens = [0; 5];
        for (i, group) in tokens.iter_mut().enumerate() {
            *group = row.get(15 + i)?;
        }
        let outcome = outcome(row.get(8)?);
        let source = source(row.get(13)?);
        let used = tokens != [0; 5] || matches!(outcome, Outcome::Ok | Outcome::Aborted);
        Ok(Self {
            at_us: row.get(0)?,
            user: row.get(1)?,
            account: row.get(2)?,
            use_case: row.get(3)?,
            version: row.get(4)?,
            step: row.get(5)?,
            provider: row.get(6)?,
            model: row.get(7)?,
            outcome,
            error: row.get(9)?,
            counts: row.get(10)?,
            original: row.get(11)?,
            cost: row.get(12)?,
            source,
            unpriced: used && source == CostSource::Unpriced,
            latency_us: row.get(14)?,
            tokens,
        })
    }

    pub(super) fn money(&self) -> Money {
        Money::from_pico(self.cost.into())
    }

    pub(super) fn add_to(&self, totals: &mut Totals) {
        if self.counts {
            *totals.calls.of(self.outcome) += 1;
            totals.unpriced_calls += u64::from(self.unpriced);
        }
        totals.attempts += u64::from(self.original);
        let [input, cache_read, cache_write, output, reasoning] =
            self.tokens.map(|n| n.max(0).cast_unsigned());
        totals.tokens.input += input;
        totals.tokens.cache_read += cache_read;
        totals.tokens.cache_write += cache_write;
        totals.tokens.output += output;
        totals.tokens.reasoning += reasoning;
        totals.cost += self.money();
        let at = Some(time(self.at_us));
        totals.first_seen = [totals.first_seen, at].into_iter().flatten().min();
        totals.last_seen = totals.last_seen.max(at);
    }
}

/// Shows `each` every fact that began in the range.
pub(super) fn scan(
    conn: &Connection,
    (since_us, until_us): (i64, i64),
    mut each: impl FnMut(&Wide),
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(SELECT)?;
    let mut rows = statement.query([since_us, until_us])?;
    while let Some(row) = rows.next()? {
        each(&Wide::read(row)?);
    }
    Ok(())
}
