//! A report is the same whatever has been folded, merged or left in the tail.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;

use super::{chain, fold, merge};
use crate::{
    context::Resolved,
    events::{Event, Outcome},
    ledger::{
        Appender, Filter, Keep, Ledger,
        read::Totals,
        sample::{event, who},
    },
    pricing::Cost,
};

/// 2026-11-20 00:00 UTC.
const START: u64 = 1_795_132_800;

/// A made-up attempt: when, whose, how it ended, what it cost, and which earlier one it goes on with.
#[derive(Clone, Debug)]
struct Made {
    second: u64,
    user: u8,
    outcome: usize,
    pico: i64,
    retries: Option<prop::sample::Index>,
}

fn made() -> impl Strategy<Value = Made> {
    // Seldom exactly at midnight, mostly within five days.
    let second = prop_oneof![1 => (0..5_u64).prop_map(|day| day * 86_400), 8 => 0..5 * 86_400_u64];
    (
        second,
        0..4_u8,
        0..5_usize,
        -1..1_000_000_000_000_i64,
        proptest::option::weighted(0.3, any::<prop::sample::Index>()),
    )
        .prop_map(|(second, user, outcome, pico, retries)| Made { second, user, outcome, pico, retries })
}

fn events(made: &[Made]) -> Vec<(Event, Resolved)> {
    let mut events: Vec<(Event, Resolved)> = Vec::new();
    for one in made {
        let mut event = event(one.pico.max(0));
        event.started_at = SystemTime::UNIX_EPOCH + Duration::from_secs(START + one.second);
        event.outcome = Outcome::ALL[one.outcome];
        if one.pico < 0 {
            event.cost = Cost::UNPRICED;
        }
        let mut who = who(&format!("u{}", one.user));
        if let (Some(index), false) = (one.retries, events.is_empty()) {
            let (earlier, its) = index.get(&events);
            let attempts = events.iter().filter(|(e, _)| e.call_id == earlier.call_id).count();
            event.call_id = earlier.call_id;
            event.attempt = u32::try_from(attempts).unwrap() + 1;
            who = its.clone();
        }
        events.push((event, who));
    }
    events
}

/// The same sums by brute force.
fn expected(events: &[(Event, Resolved)], since: u64, until: u64) -> BTreeMap<String, Totals> {
    let mut sums: BTreeMap<String, Totals> = BTreeMap::new();
    for (event, who) in events {
        let second = event.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        if !(since..until).contains(&second) {
            continue;
        }
        let mut one = Totals { attempts: 1, cost: event.cost.amount, ..Totals::default() };
        let last = events.iter().filter(|(e, _)| e.call_id == event.call_id).map(|(e, _)| e.attempt).max();
        if last == Some(event.attempt) {
            *one.calls.of(event.outcome) = 1;
            one.unpriced_calls = u64::from(event.cost.known().is_none());
        }
        (one.tokens.input, one.tokens.output) = (10, 5);
        (one.first_seen, one.last_seen) = (Some(event.started_at), Some(event.started_at));
        sums.entry(who.user_id.as_deref().unwrap().into()).or_default().add(&one);
    }
    sums
}

fn reported(ledger: &Ledger, filter: &Filter) -> BTreeMap<String, Totals> {
    let report = ledger.users(filter).unwrap();
    report.rows.into_iter().map(|row| (row.user_id.unwrap(), row.totals)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn reports_are_exact_at_every_moment(
        made in prop::collection::vec(made(), 1..60),
        steps in prop::collection::vec((0..4_u8, 1..12_usize), 1..20),
        ranges in prop::collection::vec((0..6 * 86_400_u64, 0..6 * 86_400_u64, any::<bool>()), 4),
    ) {
        let ledger = Ledger::in_memory().unwrap();
        let events = events(&made);
        let mut appender = Appender::default();
        let mut written = 0;
        for (step, n) in steps.into_iter().chain([(0, 100)]) {
            match step {
                0 | 1 => {
                    let next = (written + n).min(events.len());
                    let batch = &events[written..next];
                    ledger.with(|conn| {
                        appender.append(conn, batch.iter().map(|(e, w)| (e, w)), &[], "process:t", Keep::default())
                    }).unwrap();
                    written = next;
                }
                2 => drop(ledger.with(|conn| fold(conn, None, i64::try_from(n).unwrap())).unwrap()),
                _ => drop(ledger.with(merge).unwrap()),
            }
            let so_far = &events[..written];
            prop_assert_eq!(reported(&ledger, &Filter::new()), expected(so_far, 0, u64::MAX));
            for &(a, b, aligned) in &ranges {
                let align = |s: u64| START + if aligned { s / 86_400 * 86_400 } else { s };
                let (since, until) = (align(a), align(b));
                let at = |s: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
                let range = Filter::new().since(at(since)).until(at(until));
                let wanted = expected(so_far, since, until);
                prop_assert_eq!(reported(&ledger, &range), wanted.clone(), "{} to {}", since, until);
                prop_assert_eq!(reported(&ledger, &range.clone().use_case_name("summarize")), wanted.clone());
                let mut one = wanted;
                one.retain(|user, _| user == "u1");
                prop_assert_eq!(reported(&ledger, &range.user_id("u1")), one);
            }
        }
        prop_assert!(ledger.with(|conn| chain::verify(conn, None)).unwrap().is_ok());
    }
}

#[test]
fn the_chain_finds_a_changed_fact_and_survives_forgetting_a_text() {
    let key = chain::ChainKey::new("secret");
    for key in [None, Some(&key)] {
        let ledger = Ledger::in_memory().unwrap();
        let events: Vec<_> = (0..30).map(|n| (event(n), who("ada"))).collect();
        crate::ledger::sample::append(&ledger, &events);
        ledger.with(|conn| while_some(|| fold(conn, key, 10))).unwrap();
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
    assert!(ledger.with(|conn| fold(conn, Some(&key), 10)).unwrap());
    crate::ledger::sample::append(&ledger, &[(event(1), who("ada"))]);
    assert!(
        !ledger.with(|conn| fold(conn, None, 10)).unwrap(),
        "a keyed chain is not continued without its key"
    );
    assert!(ledger.with(|conn| fold(conn, Some(&key), 10)).unwrap());
}

fn while_some(mut work: impl FnMut() -> rusqlite::Result<bool>) -> rusqlite::Result<()> {
    while work()? {}
    Ok(())
}
