//! Sums straight from the facts.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    events::Outcome,
    ledger::{
        read::{Filter, Totals},
        rows::{micros, time},
        schema::TextKind,
        stored::outcome,
    },
    money::Money,
    pricing::CostSource,
};

/// A filter in the ledger's own integers; `None` is "any".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Narrowed {
    pub(crate) since_us: i64,
    pub(crate) until_us: i64,
    pub(crate) user: Option<i64>,
    pub(crate) account: Option<i64>,
    pub(crate) use_case: Option<i64>,
    pub(crate) model: Option<i64>,
}

impl Narrowed {
    /// `None` if a name of the filter is not in the ledger.
    pub(crate) fn resolve(conn: &Connection, filter: &Filter) -> rusqlite::Result<Option<Self>> {
        let mut known = true;
        let mut id = |kind: TextKind, text: &Option<String>| -> rusqlite::Result<Option<i64>> {
            let Some(text) = text else { return Ok(None) };
            let found = conn
                .query_row(
                    "SELECT id FROM dict WHERE kind = ?1 AND text = ?2",
                    params![kind as u8, text],
                    |row| row.get(0),
                )
                .optional()?;
            known &= found.is_some();
            Ok(found)
        };
        let narrowed = Self {
            since_us: filter.since.map_or(i64::MIN, micros),
            until_us: filter.until.map_or(i64::MAX, micros),
            user: id(TextKind::User, &filter.user_id)?,
            account: id(TextKind::Account, &filter.account_name)?,
            use_case: id(TextKind::UseCase, &filter.use_case_name)?,
            model: id(TextKind::Model, &filter.model)?,
        };
        Ok(known.then_some(narrowed))
    }

    fn holds(&self, fact: &Fact) -> bool {
        let is = |wanted: Option<i64>, found: i64| wanted.is_none_or(|w| w == found);
        (self.since_us..self.until_us).contains(&fact.at_us)
            && is(self.user, fact.user)
            && is(self.account, fact.account)
            && is(self.use_case, fact.use_case)
            && is(self.model, fact.model)
    }
}

/// What of a fact is summed, and under what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fact {
    pub(crate) at_us: i64,
    pub(crate) user: i64,
    pub(crate) account: i64,
    pub(crate) use_case: i64,
    pub(crate) model: i64,
    pub(crate) outcome: Outcome,
    /// Whether it is how its call ended, as far as is known.
    pub(crate) counts: bool,
    /// Whether it is an attempt of its own, not the correction of one.
    pub(crate) original: bool,
    pub(crate) cost: i64,
    pub(crate) unpriced: bool,
    pub(crate) tokens: [i64; 5],
}

pub(crate) const FACT: &str =
    "SELECT f.at_us, f.user, f.account, p.use_case, r.model, f.outcome, s.seq IS NULL,
   f.corrects IS NULL, f.cost, f.cost_source,
   f.input + f.audio_input + f.image_input + f.video_input,
   f.cache_read + f.audio_cache_read + f.image_cache_read, f.cache_write + f.cache_write_1h,
   f.output + f.audio_output + f.image_output, f.reasoning
 FROM facts f JOIN purposes p ON p.id = f.purpose JOIN routes r ON r.id = f.route
 LEFT JOIN superseded s ON s.seq = f.seq";

impl Fact {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let mut tokens = [0; 5];
        for (i, group) in tokens.iter_mut().enumerate() {
            *group = row.get(10 + i)?;
        }
        let outcome = outcome(row.get(5)?);
        let used = tokens != [0; 5] || matches!(outcome, Outcome::Ok | Outcome::Aborted);
        Ok(Self {
            at_us: row.get(0)?,
            user: row.get(1)?,
            account: row.get(2)?,
            use_case: row.get(3)?,
            model: row.get(4)?,
            outcome,
            counts: row.get(6)?,
            original: row.get(7)?,
            cost: row.get(8)?,
            // A refused attempt used nothing; it is not "of unknown cost".
            unpriced: used && row.get::<_, i64>(9)? == CostSource::Unpriced as i64,
            tokens,
        })
    }

    fn add_to(&self, totals: &mut Totals) {
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
        totals.cost += Money::from_pico(self.cost.into());
        let at = Some(time(self.at_us));
        totals.first_seen = [totals.first_seen, at].into_iter().flatten().min();
        totals.last_seen = totals.last_seen.max(at);
    }
}

/// Sums per (user, account).
pub(crate) fn by_user(conn: &Connection, filter: &Narrowed) -> rusqlite::Result<HashMap<(i64, i64), Totals>> {
    let mut sums: HashMap<(i64, i64), Totals> = HashMap::new();
    let mut statement = conn.prepare(&format!("{FACT} WHERE f.seq > ?1"))?;
    let mut rows = statement.query([0])?;
    while let Some(row) = rows.next()? {
        let fact = Fact::read(row)?;
        if filter.holds(&fact) {
            fact.add_to(sums.entry((fact.user, fact.account)).or_default());
        }
    }
    Ok(sums)
}
