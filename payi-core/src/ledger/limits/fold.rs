//! Facts into counters: in the transaction that appends the fact, so that one cannot be without the other.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    ops::RangeInclusive,
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    events::{LimitMark, Outcome, Verdict},
    ledger::{
        limits::{
            manage,
            rows::{Counters, Key},
        },
        rows::{Who, flag},
    },
    limits::{Counter, Crossing, Definition, LimitState, Scope, Spent, Tally, charge, now_us, state_of},
    money::Money,
    pricing::{Cost, CostSource},
    usage::Bucket,
};

/// What a fact says to the limits.
pub(crate) struct Charged<'a> {
    pub(crate) seq: i64,
    pub(crate) at_us: i64,
    pub(crate) spent: Spent,
    pub(crate) who: &'a Who,
    pub(crate) marks: &'a [LimitMark],
    /// The fact that this one takes the place of.
    pub(crate) corrects: Option<i64>,
}

/// The states in which an event left its limits, by the event's number.
pub(crate) type States = Vec<(i64, Vec<(Arc<str>, LimitState)>)>;

/// Folds. Holds what it learns between transactions.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    version: Option<u64>,
    rules: Vec<Rule>,
    /// Which of them are for calls that name them, by their ids; and the others.
    attached: HashMap<Box<str>, usize>,
    everywhere: Vec<usize>,
    purposes: HashMap<i64, Purpose>,
    sums: Sums,
    let_go: HashMap<Key, i128>,
    tallies: BTreeMap<i64, Tally>,
    /// Counters that came to another state in the last transaction.
    pub(crate) crossings: Vec<Crossing>,
    /// Kept only for whoever asks.
    pub(crate) states: Option<States>,
}

#[derive(Debug)]
struct Rule {
    number: i64,
    definition: Definition,
}

/// What a purpose says to the limits.
#[derive(Clone, Debug, Default)]
struct Purpose {
    use_case: i64,
    /// The rules that hold for it, in their order: most are for calls that name them, and need no look.
    rules: Arc<[usize]>,
}

/// One counter while a batch goes over it.
#[derive(Debug)]
struct Sum {
    rule: usize,
    /// What the window that counts in its slot had come to.
    before: i128,
    added: i128,
    max: i128,
}

/// By counter and slot.
type Sums = BTreeMap<(Key, i64), Sum>;

/// What a batch has added so far to some slots of a counter: several count in a rolling window.
fn added(sums: &Sums, key: Key, slots: RangeInclusive<i64>) -> i128 {
    sums.range((key, *slots.start())..=(key, *slots.end())).map(|(_, sum)| sum.added).sum()
}

impl Folder {
    /// To be called first in each transaction: what the last one left, had it failed, is forgotten.
    pub(crate) fn begin(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.sums.clear();
        self.let_go.clear();
        self.tallies.clear();
        self.crossings.clear();
        if let Some(states) = &mut self.states {
            states.clear();
        }
        let version = manage::version(conn)?;
        if self.version != Some(version) {
            self.rules = manage::all(conn)?
                .into_iter()
                .map(|(number, definition)| Rule { number, definition })
                .collect();
            self.attached.clear();
            self.everywhere.clear();
            for (at, rule) in self.rules.iter().enumerate() {
                match rule.definition.limit.scope {
                    Scope::Attached => drop(self.attached.insert(rule.definition.limit.id.clone(), at)),
                    _ => self.everywhere.push(at),
                }
            }
            self.version = Some(version);
        }
        // Numbers of a transaction that was rolled back may mean something else now.
        self.purposes.clear();
        Ok(())
    }

    /// Charges a fact to every limit it counts against.
    pub(crate) fn fact(&mut self, file: &mut Counters<'_>, fact: &Charged<'_>) -> rusqlite::Result<()> {
        if self.rules.is_empty() {
            return Ok(());
        }
        let purpose = self.purpose(file.conn, fact.who.purpose)?;
        let old = fact.corrects.map(|seq| spent_of(file.conn, seq)).transpose()?.flatten();
        let mut states = Vec::new();
        for &at in &*purpose.rules {
            let Rule { number, definition } = &self.rules[at];
            let limit = &definition.limit;
            let (number, limit) = (*number, Arc::clone(limit));
            let key = key(number, limit.scope, fact.who, &purpose);
            let amount = charge(&limit, &fact.spent);
            let mark = fact.marks.iter().find(|mark| *mark.limit == *limit.id).map(|mark| mark.verdict);
            let held = mark == Some(Verdict::Held) && definition.gave(fact.at_us, now_us());
            if held && limit.settles() && old.is_none() {
                *self.let_go.entry(key).or_default() += amount;
            }
            if fact.at_us < definition.epoch_us {
                continue;
            }
            // What was charged before the counters began anew is not in them.
            let counted = match fact.corrects {
                Some(seq) if seq > manage::begun(file.conn, number)? => old,
                _ => None,
            };
            let change = amount - counted.map_or(0, |old| charge(&limit, &old));
            let slot = limit.window.slot(fact.at_us).0;
            let sum = self.sum(file, at, key, (slot, fact.at_us))?;
            if limit.settles() {
                sum.added += change;
            }
            let (before, max) = (sum.before, sum.max);
            let is = LimitState::of(&limit, max, before + added(&self.sums, key, limit.window.counted(slot)));
            let state = state_of(mark, fact.spent.outcome, amount, is);
            if counted.is_none() {
                self.tallies.entry(number).or_default().count(state);
            }
            if self.states.is_some() {
                states.push(((*limit.id).into(), state));
            }
        }
        if let Some(all) = self.states.as_mut().filter(|_| !states.is_empty()) {
            all.push((fact.seq, states));
        }
        Ok(())
    }

    /// Writes what the facts of this transaction came to. `process` is the one that held what they used.
    pub(crate) fn finish(&mut self, file: &mut Counters<'_>, process: &str) -> rusqlite::Result<()> {
        let sums = std::mem::take(&mut self.sums);
        for (&(key, slot), sum) in sums.iter().filter(|(_, sum)| sum.added != 0) {
            file.add(key, slot, sum.added)?;
            let limit = &self.rules[sum.rule].definition.limit;
            let settled = sum.before + added(&sums, key, limit.window.oldest(slot)..=slot);
            let was = LimitState::of(limit, sum.max, settled - sum.added);
            let state = LimitState::of(limit, sum.max, settled);
            if state != was && sum.added > 0 {
                let counter = Counter { limit: (*limit.id).into(), subject: file.subject(key)? };
                self.crossings.push(Crossing { counter, state, settled, max: sum.max });
            }
        }
        if !self.let_go.is_empty()
            && let Some(holder) = manage::holder(file.conn, process)?
        {
            for (key, amount) in self.let_go.drain() {
                file.hold(key, holder, -amount)?;
            }
        }
        for (number, tally) in std::mem::take(&mut self.tallies) {
            manage::count(file.conn, number, &tally)?;
        }
        Ok(())
    }

    fn sum(
        &mut self,
        file: &mut Counters<'_>,
        rule: usize,
        key: Key,
        (slot, at_us): (i64, i64),
    ) -> rusqlite::Result<&mut Sum> {
        match self.sums.entry((key, slot)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => {
                let limit = &self.rules[rule].definition.limit;
                let before = if limit.settles() { file.spent(key, limit, at_us)?.0 } else { 0 };
                let max =
                    if limit.overrides.is_empty() { limit.max } else { limit.max_of(&file.subject(key)?) };
                Ok(new.insert(Sum { rule, before, added: 0, max }))
            }
        }
    }

    fn purpose(&mut self, conn: &Connection, purpose: i64) -> rusqlite::Result<Purpose> {
        if let Some(known) = self.purposes.get(&purpose) {
            return Ok(known.clone());
        }
        let row = conn
            .prepare(
                "SELECT p.use_case, d.text FROM purposes p LEFT JOIN dict d ON d.id = p.limits WHERE p.id = ?1",
            )?
            .query_row([purpose], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?)))
            .optional()?;
        let (use_case, labels): (i64, Option<String>) = row.unwrap_or_default();
        let named: Vec<Box<str>> =
            labels.and_then(|json: String| serde_json::from_str(&json).ok()).unwrap_or_default();
        let attached = named.iter().filter_map(|id| self.attached.get(id));
        let mut rules: Vec<usize> = self.everywhere.iter().chain(attached).copied().collect();
        rules.sort_unstable();
        rules.dedup();
        let found = Purpose { use_case, rules: rules.into() };
        self.purposes.insert(purpose, found.clone());
        Ok(found)
    }
}

fn key(limit: i64, scope: Scope, who: &Who, purpose: &Purpose) -> Key {
    let (a, b) = match scope {
        Scope::Attached | Scope::Everyone => (0, 0),
        Scope::EachUser => (who.user, who.account),
        Scope::EachAccount => (who.account, 0),
        Scope::EachUseCase => (purpose.use_case, 0),
    };
    Key { limit, a, b }
}

/// What a fact on record came to.
fn spent_of(conn: &Connection, seq: i64) -> rusqlite::Result<Option<Spent>> {
    let tokens = |wanted: fn(Bucket) -> bool| {
        let columns: Vec<&str> = Bucket::ALL.into_iter().filter(|b| wanted(*b)).map(Bucket::name).collect();
        columns.join(" + ")
    };
    let sql = format!(
        "SELECT outcome, cost, cost_source, {} + {}, flags FROM facts WHERE seq = ?1",
        tokens(Bucket::is_input_token),
        tokens(Bucket::is_output_token)
    );
    conn.prepare(&sql)?
        .query_row(params![seq], |row| {
            let outcome = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
            let source = usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
            Ok(Spent {
                outcome: Outcome::ALL.get(outcome).copied().unwrap_or(Outcome::Abandoned),
                cost: Cost {
                    amount: Money::from_pico(row.get::<_, i64>(1)?.into()),
                    source: CostSource::ALL.get(source).copied().unwrap_or(CostSource::Unpriced),
                },
                tokens: row.get::<_, i64>(3)?.max(0).cast_unsigned(),
                free: row.get::<_, i64>(4)? & flag::FREE != 0,
            })
        })
        .optional()
}
