//! A report is the same whatever has been folded, merged or left in the tail.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod brute;

use std::{collections::BTreeMap, time::SystemTime};

use brute::{Names, START, at, events, expected, made, ordered};
use proptest::prelude::*;

use super::{Slot, chain, fold, runs};
use crate::{
    context::Resolved,
    events::Event,
    ledger::{
        Appender, Filter, Keep, Ledger,
        read::{
            Detail, Dimension, Figures, Order, PartName, Pick, Query, RequestOrder, Series, Totals, View,
        },
        rows::micros,
        sample::{event, who},
    },
    money::Money,
    pricing::CostSource,
};

/// A report: all rows with the nameless one, the names of the others in their order, and the total.
fn reported(ledger: &Ledger, query: &Query) -> (BTreeMap<Names, Figures>, Vec<Names>, Figures) {
    let report = ledger.view(|view| view.drivers(query, &[])).unwrap();
    assert_eq!(report.count, report.rows.len());
    let order = report.rows.iter().map(|row| row.names.clone()).collect();
    let mut rows: BTreeMap<Names, Figures> = BTreeMap::new();
    for row in report.rows.iter().chain(&report.nameless) {
        rows.insert(row.names.clone(), row.figures);
    }
    (rows, order, report.total)
}

const ORDERS: [Order; 9] = [
    Order::Cost,
    Order::Change,
    Order::Calls,
    Order::Failed,
    Order::Tokens,
    Order::CostPerCall,
    Order::LastSeen,
    Order::FirstSeen,
    Order::Name,
];

fn query() -> impl Strategy<Value = Query> {
    let dimension = || prop::sample::select(Dimension::ALL.to_vec());
    let name = prop::sample::select(vec![
        "u0",
        "u1",
        "acme",
        "globex",
        "summarize",
        "answer",
        "4",
        "draft",
        "openai",
        "model-1",
        "ok",
        "failed",
        "timeout",
    ]);
    let pick = prop_oneof![1 => Just(Pick::Missing), 5 => name.prop_map(|name| Pick::Is(name.into()))];
    let moment = || {
        prop_oneof![
            (0..6_u64).prop_map(|day| day * 86_400),
            (0..6 * 96_u64).prop_map(|quarter| quarter * 900),
            0..6 * 86_400_u64
        ]
        .prop_map(|second| at(START + second))
    };
    let by = prop_oneof![
        2 => Just(vec![Dimension::User, Dimension::Account]),
        3 => prop::collection::vec(dimension(), 0..3),
    ];
    let source = proptest::option::weighted(0.2, prop::sample::select(CostSource::ALL.to_vec()));
    (
        proptest::option::weighted(0.8, (moment(), moment())),
        prop_oneof![2 => Just(vec![]), 2 => prop::collection::vec((dimension(), pick), 1..3)],
        source,
        by,
        prop_oneof![4 => Just(""), 1 => Just("u1"), 1 => Just("a")],
        any::<bool>(),
        (prop::sample::select(ORDERS.to_vec()), any::<bool>()),
    )
        .prop_map(|(range, picks, source, by, search, compare, (order, reverse))| {
            let (since, until) = range.map_or((None, None), |(a, b)| (Some(a.min(b)), Some(a.max(b))));
            let (search, compare) = (search.into(), compare && range.is_some());
            Query { since, until, picks, source, by, search, order, reverse, compare, ..Query::default() }
        })
}

/// Writes, folds and merges in some order.
struct Busy<'e> {
    ledger: Ledger,
    appender: Appender,
    events: &'e [(Event, Resolved)],
    written: usize,
    grown: Vec<Slot>,
}

impl<'e> Busy<'e> {
    fn new(events: &'e [(Event, Resolved)]) -> Self {
        let ledger = Ledger::in_memory().unwrap();
        Self { ledger, appender: Appender::default(), events, written: 0, grown: Vec::new() }
    }

    fn step(&mut self, step: u8, n: usize) {
        match step {
            0 | 1 => {
                let next = (self.written + n).min(self.events.len());
                let batch = self.events[self.written..next].iter().map(|(e, w)| (e, w));
                let appender = &mut self.appender;
                let write = |conn: &_| appender.append(conn, batch, &[], "process:t", Keep::default());
                self.ledger.with(write).unwrap();
                self.written = next;
            }
            2 => {
                let folded = self.ledger.with(|conn| fold(conn, None, i64::try_from(n).unwrap())).unwrap();
                self.grown.extend(folded.unwrap_or_default());
            }
            3 => {
                let grown = std::mem::take(&mut self.grown);
                self.ledger.with(|conn| runs::tidy_at(conn, &grown, 2)).unwrap();
            }
            // As a payi that knows nothing of sums by days leaves it.
            _ => {
                let none = "DELETE FROM rollup WHERE grain = 5; DELETE FROM meta WHERE key = 'folded_days'";
                self.ledger.with(|conn| conn.execute_batch(none)).unwrap();
            }
        }
    }

    fn so_far(&self) -> &'e [(Event, Resolved)] {
        &self.events[..self.written]
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn reports_are_exact_at_every_moment(
        made in prop::collection::vec(made(), 1..60),
        steps in prop::collection::vec((0..5_u8, 1..12_usize), 1..24),
        queries in prop::collection::vec(query(), 6),
    ) {
        let events = events(&made);
        let mut busy = Busy::new(&events);
        for (step, n) in steps.into_iter().chain([(0, 100)]) {
            busy.step(step, n);
            let so_far = busy.so_far();
            for query in &queries {
                let all = expected(so_far, query);
                let total = all.values().fold(Figures::default(), |mut total, row| { total.add(row); total });
                let mut rows = all;
                // All without a first name are one row. Whoever was only there in the range before is none.
                let mut nameless: Option<Figures> = None;
                rows.retain(|names, row| {
                    let keep = names.first().is_none_or(Option::is_some);
                    if !keep {
                        nameless.get_or_insert_default().add(row);
                    }
                    keep
                });
                rows.retain(|_, row| row.totals.first_seen.is_some());
                let nameless = nameless.filter(|row| row.totals.first_seen.is_some());
                let (mut found, order, sum) = reported(&busy.ledger, query);
                let pinned = found.remove(&vec![None; query.by.len()]).filter(|_| !query.by.is_empty());
                if query.by.is_empty() {
                    prop_assert_eq!(found.len(), 0);
                    rows.clear();
                }
                prop_assert_eq!(&found, &rows, "{:?}", query);
                prop_assert_eq!(&sum, &total, "{:?}", query);
                if !query.by.is_empty() {
                    prop_assert_eq!(order, ordered(query, &rows), "{:?}", query);
                    prop_assert_eq!(pinned, nameless, "{:?}", query);
                }
            }
            let users = Query { by: vec![Dimension::User, Dimension::Account], ..Query::default() };
            let wanted: BTreeMap<Names, Totals> =
                expected(so_far, &users).into_iter().map(|(names, row)| (names, row.totals)).collect();
            let report = busy.ledger.users(&Filter::new()).unwrap();
            let found: BTreeMap<Names, Totals> =
                report.rows.into_iter().map(|row| (vec![row.user_id, row.account_name], row.totals)).collect();
            prop_assert_eq!(found, wanted);
        }
        prop_assert_eq!(busy.ledger.check().unwrap().problems, Vec::<String>::new());
    }

    #[test]
    fn reports_read_together_and_lists_by_amount_are_those_read_alone(
        made in prop::collection::vec(made(), 1..60),
        steps in prop::collection::vec((0..3_u8, 1..12_usize), 1..24),
        query in query(),
        splits in prop::collection::vec(prop::collection::vec(prop::sample::select(Dimension::ALL.to_vec()), 0..3), 3),
        page in (0..4_usize, 1..6_usize, any::<bool>()),
    ) {
        let events = events(&made);
        let mut busy = Busy::new(&events);
        for (step, n) in steps.into_iter().chain([(0, 100)]) {
            busy.step(step, n);
        }
        let asked: Vec<Query> = splits.into_iter().map(|by| Query { by, ..query.clone() }).collect();
        let bounds: Vec<SystemTime> = (0..=6).map(|day| at(START + day * 86_400)).collect();
        let draw = |view: &View<'_>, query: &Query| Ok(format!("{:?}", view.series(query, &bounds, 2)?));
        let (together, drawn) = busy.ledger.view(|view| {
            let asked: Vec<(Query, &[SystemTime])> = asked.iter().map(|query| (query.clone(), &*bounds)).collect();
            let reports = view.drivers_of(&asked)?;
            Ok((reports, asked.iter().map(|(query, _)| draw(view, query)).collect::<Result<Vec<_>, _>>()?))
        }).unwrap();
        for ((query, together), drawn) in asked.iter().zip(together).zip(drawn) {
            let alone = busy.ledger.view(|view| view.drivers(query, &bounds)).unwrap();
            prop_assert_eq!(format!("{together:?}"), format!("{alone:?}"), "{:?}", query);
            prop_assert_eq!(drawn, busy.ledger.view(|view| draw(view, query)).unwrap(), "{:?}", query);
        }
        let (offset, limit, reverse) = page;
        let all = Query { limit: Some(1_000), ..query.clone() };
        let all = busy.ledger.view(|view| view.requests(&all, RequestOrder::Time)).unwrap().rows;
        for order in [RequestOrder::Time, RequestOrder::Cost, RequestOrder::Latency, RequestOrder::Tokens] {
            let mut wanted: Vec<_> = all.iter().map(|row| match order {
                RequestOrder::Time => (i128::from(micros(row.at)), row.seq),
                RequestOrder::Cost => (row.cost.amount.pico(), row.seq),
                RequestOrder::Latency => (i128::try_from(row.latency.as_micros()).unwrap(), row.seq),
                _ => (i128::from(row.tokens.total()), row.seq),
            }).collect();
            wanted.sort_unstable();
            if !reverse {
                wanted.reverse();
            }
            let seqs: Vec<i64> = wanted.iter().skip(offset).take(limit).map(|(_, seq)| *seq).collect();
            let query = Query { offset, limit: Some(limit), reverse, ..query.clone() };
            let found = busy.ledger.view(|view| view.requests(&query, order)).unwrap();
            prop_assert_eq!(found.rows.iter().map(|row| row.seq).collect::<Vec<_>>(), seqs, "{:?}", query);
            prop_assert_eq!(found.more, offset + limit < wanted.len());
            let beyond = Query { offset: 1_000_000, ..query };
            let beyond = busy.ledger.view(|view| view.requests(&beyond, order)).unwrap();
            prop_assert!(beyond.rows.is_empty() && !beyond.more);
        }
    }

    #[test]
    fn charts_and_details_are_the_same_whatever_was_folded(
        made in prop::collection::vec(made(), 1..60),
        steps in prop::collection::vec((0..4_u8, 1..12_usize), 1..24),
        query in query(),
        hours in prop::sample::select(vec![1_u64, 5, 24]),
        offset in prop::sample::select(vec![0_u64, 900, 5_400, 1_234]),
    ) {
        let events = events(&made);
        let mut busy = Busy::new(&events);
        for (step, n) in steps.into_iter().chain([(0, 100)]) {
            busy.step(step, n);
        }
        let bounds: Vec<SystemTime> = (0..=48).map(|n| at(START - offset + n * hours * 3_600)).collect();
        let query = Query { since: Some(bounds[0]), until: bounds.last().copied(), ..query };
        let plain = Ledger::in_memory().unwrap();
        crate::ledger::sample::append(&plain, &events);
        let (folded, unfolded) = (pictures(&busy.ledger, &query, &bounds), pictures(&plain, &query, &bounds));
        prop_assert_eq!(&folded, &unfolded);
        let spent: Money = expected(&events, &query).values().map(|row| row.totals.cost).sum();
        let drawn: Money = folded.1.iter().flat_map(|(_, costs)| costs.iter().copied()).sum();
        if !query.by.is_empty() {
            prop_assert_eq!(drawn, spent);
        }
    }
}

type Picture = (Vec<(Names, Vec<String>)>, Vec<(PartName, Vec<Money>)>, Vec<u64>, Vec<u64>);

/// All that a page shows of a query, in an order that does not depend on how it was stored.
fn pictures(ledger: &Ledger, query: &Query, bounds: &[SystemTime]) -> Picture {
    let query = Query { order: Order::Name, ..query.clone() };
    let (report, series): (_, Series) =
        ledger.view(|view| Ok((view.drivers(&query, bounds)?, view.series(&query, bounds, 100)?))).unwrap();
    let rows = report.rows.into_iter().map(|row| (row.names, describe(&row.detail))).collect();
    let mut parts: Vec<_> = series.parts.into_iter().map(|part| (part.name, part.costs)).collect();
    parts.sort_by_key(|(name, _)| format!("{name:?}"));
    (rows, parts, series.ok, series.not_ok)
}

/// A detail without its ties: of equal amounts the ledger's own order decides.
fn describe(detail: &Detail) -> Vec<String> {
    vec![
        format!("{:?}", detail.trend),
        format!("{:?} {:?}", detail.cost_p50, detail.cost_p95),
        format!("{:?} {:?}", detail.latency_p50, detail.latency_p95),
    ]
}

#[test]
fn the_chain_finds_a_changed_fact_and_survives_forgetting_a_text() {
    let key = chain::ChainKey::new("secret");
    for key in [None, Some(&key)] {
        let ledger = Ledger::in_memory().unwrap();
        let events: Vec<_> = (0..30).map(|n| (event(n), who("ada"))).collect();
        crate::ledger::sample::append(&ledger, &events);
        ledger.with(|conn| while_some(|| Ok(fold(conn, key, 10)?.is_some()))).unwrap();
        assert_eq!(ledger.with(|conn| chain::verify(conn, key)).unwrap(), Ok(3));
        ledger
            .with(|conn| conn.execute("UPDATE dict SET text = NULL, salt = NULL WHERE text = 'ada'", []))
            .unwrap();
        assert_eq!(ledger.with(|conn| chain::verify(conn, key)).unwrap(), Ok(3));
        ledger.with(|conn| conn.execute("UPDATE facts SET cost = cost + 1 WHERE seq = 15", [])).unwrap();
        assert_eq!(ledger.with(|conn| chain::verify(conn, key)).unwrap(), Err(2));
    }
    let ledger = Ledger::in_memory().unwrap();
    crate::ledger::sample::append(&ledger, &[(event(1), who("ada"))]);
    assert!(ledger.with(|conn| fold(conn, Some(&key), 10)).unwrap().is_some());
    crate::ledger::sample::append(&ledger, &[(event(1), who("ada"))]);
    assert!(
        ledger.with(|conn| fold(conn, None, 10)).unwrap().is_none(),
        "a keyed chain is not continued without its key"
    );
    assert!(ledger.with(|conn| fold(conn, Some(&key), 10)).unwrap().is_some());
}

fn while_some(mut work: impl FnMut() -> rusqlite::Result<bool>) -> rusqlite::Result<()> {
    while work()? {}
    Ok(())
}
