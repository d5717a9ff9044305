//! Events into rows: one transaction per batch, each event once.

use std::{
    collections::{HashMap, HashSet},
    time::SystemTime,
};

use rusqlite::{Connection, OptionalExtension as _, Statement, params};
use uuid::Uuid;

use crate::{
    context::Resolved,
    events::{Event, Opening},
    ledger::{
        claim::{Claim, Claims, find_seq},
        dict::{self, Dictionary, Texts},
        ids,
        limits::{Charged, Counters, Folder},
        rows::{self, Who, flags, labels, micros},
        schema::{TextKind, writing},
        unattributed,
    },
    limits::Spent,
    usage::Bucket,
};

/// What to do with the texts of an event that reports do not need.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keep {
    /// Somebody will deliver it: keep headers and tool calls until then.
    pub(crate) exchanges: bool,
    /// Prompts and answers of events that carry them.
    pub(crate) prompts: bool,
}

/// What came of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Facts written.
    pub(crate) facts: u64,
    /// Events that were in the ledger already.
    pub(crate) duplicates: u64,
    /// Events older than what has been pruned; they could no longer be told from duplicates.
    pub(crate) too_late: u64,
}

/// What became of one event of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Became {
    /// The fact of this number.
    Fact(i64),
    /// Nothing: it was in the ledger already, under this number.
    Duplicate(Option<i64>),
    /// Nothing: it is older than what has been pruned.
    TooLate,
}

impl FromIterator<Became> for Appended {
    fn from_iter<I: IntoIterator<Item = Became>>(events: I) -> Self {
        let mut done = Self::default();
        for became in events {
            match became {
                Became::Fact(_) => done.facts += 1,
                Became::Duplicate(_) => done.duplicates += 1,
                Became::TooLate => done.too_late += 1,
            }
        }
        done
    }
}

impl std::ops::AddAssign for Appended {
    fn add_assign(&mut self, other: Self) {
        self.facts += other.facts;
        self.duplicates += other.duplicates;
        self.too_late += other.too_late;
    }
}

/// Writes events. Holds what it learns between batches.
#[derive(Debug, Default)]
pub(crate) struct Appender {
    dictionary: Dictionary,
    /// Charges what is written to the limits it counts against.
    pub(crate) limits: Folder,
    /// Calls seen to have more than one attempt, so that a late first attempt finds its successor.
    retried: HashSet<Uuid>,
    /// Rows of `open_calls` that this appender wrote.
    opened: HashSet<Uuid>,
    /// What becomes of those once the transaction at hand is committed.
    opening: Vec<Uuid>,
    closing: Vec<Uuid>,
    /// A transaction was begun, and has not come to its end.
    unfinished: bool,
}

/// The statements of one batch.
pub(crate) struct Statements<'c> {
    pub(crate) claims: Claims<'c>,
    pub(crate) fact: Statement<'c>,
    details: Statement<'c>,
    close: Statement<'c>,
    texts: Texts<'c>,
    pub(crate) counters: Counters<'c>,
}

impl<'c> Statements<'c> {
    pub(crate) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        let marks = vec!["?"; 19 + Bucket::ALL.len()].join(",");
        let buckets = Bucket::ALL.map(Bucket::name).join(",");
        Ok(Self {
            claims: Claims::new(conn),
            fact: conn.prepare(&format!(
                "INSERT INTO facts(seq, id_hi, id_lo, at_us, latency_us, ttft_us, attempt, outcome, http, error,
                   user, account, purpose, route, flags, cost, cost_source, reported, corrects, {buckets})
                 VALUES({marks})"
            ))?,
            details: conn.prepare(
                "INSERT INTO details(seq, response_id, use_case_id, properties, use_case_properties)
                 VALUES(?1, ?2, ?3, ?4, ?5)",
            )?,
            close: conn.prepare("DELETE FROM open_calls WHERE id_hi = ?1 AND id_lo = ?2")?,
            texts: Texts::new(conn),
            counters: Counters::new(conn),
        })
    }
}

impl Appender {
    /// One that keeps up to `ids` ids of the dictionary.
    pub(crate) fn remembering(ids: usize) -> Self {
        Self { dictionary: Dictionary::keeping(ids), ..Self::default() }
    }

    /// Runs `work` in one transaction. If it fails, or panics, nothing of it is in the file, and what this appender
    /// learned in it is forgotten.
    pub(crate) fn transaction<T>(
        &mut self,
        conn: &Connection,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let transaction = writing(conn)?;
        if std::mem::replace(&mut self.unfinished, true) {
            // What was interned in the last one is gone again.
            self.dictionary.clear();
            self.opening.clear();
            self.closing.clear();
        }
        let done = work(self)?;
        transaction.commit()?;
        self.unfinished = false;
        self.opened.extend(self.opening.drain(..));
        for id in self.closing.drain(..) {
            self.opened.remove(&id);
        }
        Ok(done)
    }

    /// Writes a batch in one transaction. On an error nothing of it is written.
    pub(crate) fn append<'e>(
        &mut self,
        conn: &Connection,
        events: impl IntoIterator<Item = (&'e Event, &'e Resolved)>,
        openings: &[(Opening, Resolved)],
        process: &str,
        keep: Keep,
    ) -> rusqlite::Result<Appended> {
        self.transaction(conn, |appender| {
            let became = appender.append_within(conn, events, openings, process, keep)?;
            Ok(became.into_iter().collect())
        })
    }

    /// The same inside a transaction that was begun with [`Self::transaction`]; what became of each event.
    pub(crate) fn append_within<'e>(
        &mut self,
        conn: &Connection,
        events: impl IntoIterator<Item = (&'e Event, &'e Resolved)>,
        openings: &[(Opening, Resolved)],
        process: &str,
        keep: Keep,
    ) -> rusqlite::Result<Vec<Became>> {
        self.dictionary.refresh(conn)?;
        self.limits.begin(conn)?;
        let mut statements = Statements::prepare(conn)?;
        let mut last = last_seq(conn)?;
        let floor = dict::meta(conn, "pruned_before_us")?;
        let events = events.into_iter();
        let mut done = Vec::with_capacity(events.size_hint().0);
        for (event, who) in events {
            if micros(event.started_at) < floor {
                done.push(Became::TooLate);
                continue;
            }
            match statements.claims.claim(event, last + 1)? {
                Claim::Duplicate(seq) => done.push(Became::Duplicate(seq)),
                Claim::New(seq) => {
                    self.write(conn, &mut statements, event, who, (seq, event.id, None), keep)?;
                    done.push(Became::Fact(seq));
                    last = seq;
                }
                Claim::Corrects { new, old } => {
                    let id = ids::correction(event.id);
                    self.write(conn, &mut statements, event, who, (new, id, Some(old)), keep)?;
                    done.push(Became::Fact(new));
                    last = new;
                }
            }
            if self.opened.contains(&event.id) {
                statements.close.execute(ids::halves(event.id))?;
                self.closing.push(event.id);
            }
        }
        for (opening, who) in openings {
            self.write_open(conn, &mut statements.texts, (opening, who), process)?;
        }
        self.limits.finish(&mut statements.counters, process)?;
        Ok(done)
    }

    fn write(
        &mut self,
        conn: &Connection,
        statements: &mut Statements<'_>,
        event: &Event,
        who: &Resolved,
        (seq, id, corrects): (i64, Uuid, Option<i64>),
        keep: Keep,
    ) -> rusqlite::Result<()> {
        let texts = &mut statements.texts;
        let ids_of = self.who(conn, texts, event, who)?;
        let error = self.dictionary.text(texts, TextKind::Error, event.error.as_deref())?;
        rows::insert_fact(
            &mut statements.fact,
            event,
            (seq, id, corrects),
            error,
            &ids_of,
            flags(event, who),
        )?;
        rows::insert_details(&mut statements.details, seq, event, who)?;
        rows::insert_exchange(conn, seq, event, keep)?;
        rows::insert_extras(conn, seq, event)?;
        if !event.context.unattributed().is_empty() && corrects.is_none() {
            unattributed::count(conn, event)?;
        }
        self.charge(&mut statements.counters, event, &ids_of, (seq, corrects))?;
        self.follow_attempts(conn, event, (seq, corrects))?;
        corrects.map_or(Ok(()), |old| supersede(conn, seq, old))
    }

    /// Charges an event to the limits it counts against.
    pub(crate) fn charge(
        &mut self,
        counters: &mut Counters<'_>,
        event: &Event,
        who: &Who,
        (seq, corrects): (i64, Option<i64>),
    ) -> rusqlite::Result<()> {
        self.limits.fact(
            counters,
            &Charged {
                seq,
                at_us: micros(event.started_at),
                spent: Spent::of(event),
                who,
                marks: &event.limits,
                corrects,
            },
        )
    }

    fn who(
        &mut self,
        conn: &Connection,
        texts: &mut Texts<'_>,
        event: &Event,
        who: &Resolved,
    ) -> rusqlite::Result<Who> {
        let exchange = event.exchange.as_deref();
        let route = self.route(
            conn,
            texts,
            &[
                (TextKind::Provider, Some(&*event.provider)),
                (TextKind::Operation, Some(&*event.operation)),
                (TextKind::Category, Some(&*event.category)),
                (TextKind::Model, event.request_model.as_deref()),
                (TextKind::Model, event.response_model.as_deref()),
                (TextKind::Tier, event.service_tier.as_deref()),
                (TextKind::Geo, event.geo.as_deref()),
                (TextKind::Category, who.price_as_category.as_deref()),
                (TextKind::Resource, who.price_as_resource.as_deref()),
                (TextKind::Scope, who.resource_scope.as_deref()),
                (TextKind::Module, exchange.and_then(|x| x.instrumented_module.as_deref())),
                (TextKind::Uri, exchange.and_then(|x| x.provider_uri.as_deref())),
            ],
        )?;
        let (user, account, purpose) = self.person(conn, texts, who)?;
        Ok(Who { user, account, purpose, route })
    }

    fn route(
        &mut self,
        conn: &Connection,
        texts: &mut Texts<'_>,
        parts: &[(TextKind, Option<&str>); 12],
    ) -> rusqlite::Result<i64> {
        let mut key = [0; 12];
        for (id, &(kind, text)) in key.iter_mut().zip(parts) {
            *id = self.dictionary.text(texts, kind, text)?;
        }
        self.dictionary.route(conn, key)
    }

    fn person(
        &mut self,
        conn: &Connection,
        texts: &mut Texts<'_>,
        who: &Resolved,
    ) -> rusqlite::Result<(i64, i64, i64)> {
        let dictionary = &mut self.dictionary;
        let user = dictionary.text(texts, TextKind::User, who.user_id.as_deref())?;
        let account = dictionary.text(texts, TextKind::Account, who.account_name.as_deref())?;
        let case = who.use_case.as_ref();
        let purpose = [
            dictionary.text(texts, TextKind::UseCase, case.map(|c| &*c.name))?,
            case.and_then(|c| c.version).map_or(-1, i64::from),
            dictionary.text(texts, TextKind::Step, case.and_then(|c| c.step.as_deref()))?,
            dictionary.text(texts, TextKind::Labels, labels(&who.limit_ids).as_deref())?,
            dictionary.text(texts, TextKind::Labels, labels(&who.request_tags).as_deref())?,
        ];
        Ok((user, account, dictionary.purpose(conn, purpose)?))
    }

    fn write_open(
        &mut self,
        conn: &Connection,
        texts: &mut Texts<'_>,
        (opening, who): (&Opening, &Resolved),
        process: &str,
    ) -> rusqlite::Result<()> {
        let route = self.route(
            conn,
            texts,
            &[
                (TextKind::Provider, Some(&*opening.provider)),
                (TextKind::Operation, Some(&*opening.operation)),
                (TextKind::Category, Some(&*opening.category)),
                (TextKind::Model, opening.request_model.as_deref()),
                (TextKind::Model, None),
                (TextKind::Tier, None),
                (TextKind::Geo, None),
                (TextKind::Category, who.price_as_category.as_deref()),
                (TextKind::Resource, who.price_as_resource.as_deref()),
                (TextKind::Scope, who.resource_scope.as_deref()),
                (TextKind::Module, None),
                (TextKind::Uri, None),
            ],
        )?;
        let (user, account, purpose) = self.person(conn, texts, who)?;
        let ((hi, lo), (call_hi, call_lo)) = (ids::halves(opening.id), ids::halves(opening.call_id));
        let estimate = opening.estimate.as_deref();
        conn.execute(
            "INSERT OR IGNORE INTO open_calls(id_hi, id_lo, call_hi, call_lo, attempt, at_us, process,
               user, account, purpose, route, cost, cost_source, input, output)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                hi,
                lo,
                call_hi,
                call_lo,
                opening.attempt,
                micros(opening.started_at),
                process,
                user,
                account,
                purpose,
                route,
                estimate.map(|(_, cost)| cost.amount.to_fact().unwrap_or(i64::MAX)),
                estimate.map(|(_, cost)| cost.source as i64),
                estimate.map(|(usage, _)| rows::count(usage.get(Bucket::Input))),
                estimate.map(|(usage, _)| rows::count(usage.get(Bucket::Output))),
            ],
        )?;
        self.opening.push(opening.id);
        Ok(())
    }

    /// Keeps `attempts` and `superseded`, so that a call counts once, by its last attempt.
    pub(crate) fn follow_attempts(
        &mut self,
        conn: &Connection,
        event: &Event,
        (seq, corrects): (i64, Option<i64>),
    ) -> rusqlite::Result<()> {
        // Between an attempt that was given up and its correction, others may have gone on with the call.
        let alone = event.attempt <= 1 && event.call_id == event.id && corrects.is_none();
        if alone && !self.retried.contains(&event.call_id) {
            return Ok(());
        }
        if self.retried.len() > 4096 {
            self.retried.clear();
        }
        self.retried.insert(event.call_id);
        let (hi, lo) = ids::halves(event.call_id);
        if event.attempt > 1 {
            // The first attempt is known by its id alone, until it turns out not to be the only one.
            if let Some(seq) = find_seq(conn, event.call_id)? {
                conn.execute("INSERT OR IGNORE INTO attempts VALUES(?1, ?2, 1, ?3)", params![hi, lo, seq])?;
            }
        }
        conn.execute(
            "INSERT OR IGNORE INTO attempts VALUES(?1, ?2, ?3, ?4)",
            params![hi, lo, event.attempt, seq],
        )?;
        let at = |sql: &str| -> rusqlite::Result<Option<i64>> {
            conn.query_row(sql, params![hi, lo, event.attempt], |row| row.get(0)).optional()
        };
        let later =
            at("SELECT seq FROM attempts WHERE call_hi = ?1 AND call_lo = ?2 AND attempt > ?3 LIMIT 1")?;
        if later.is_some() {
            return supersede(conn, seq, seq);
        }
        let earlier = at("SELECT seq FROM attempts WHERE call_hi = ?1 AND call_lo = ?2 AND attempt < ?3
             ORDER BY attempt DESC, seq DESC LIMIT 1")?;
        earlier.map_or(Ok(()), |old| supersede(conn, seq, old))
    }
}

fn supersede(conn: &Connection, by: i64, seq: i64) -> rusqlite::Result<()> {
    conn.execute("INSERT OR IGNORE INTO superseded(by, seq) VALUES(?1, ?2)", [by, seq]).map(drop)
}

/// The number of the newest fact there ever was.
pub(crate) fn last_seq(conn: &Connection) -> rusqlite::Result<i64> {
    let last: i64 = conn.query_row("SELECT coalesce(max(seq), 0) FROM facts", [], |row| row.get(0))?;
    Ok(last.max(dict::meta(conn, "pruned_seq")?))
}

/// Counts that reach the file by reason, inside or outside a transaction.
pub(crate) fn count_losses(conn: &Connection, counts: &HashMap<&str, u64>) -> rusqlite::Result<()> {
    let now = micros(SystemTime::now());
    for (reason, count) in counts {
        conn.execute(
            "INSERT INTO losses(reason, count, last_us) VALUES(?1, ?2, ?3)
             ON CONFLICT(reason) DO UPDATE SET count = count + excluded.count, last_us = excluded.last_us",
            params![reason, i64::try_from(*count).unwrap_or(i64::MAX), now],
        )?;
    }
    Ok(())
}
