//! Attempts as they may come, and what a report of them says, by brute force.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;

use crate::{
    context::{Resolved, Text, UseCase},
    events::{Event, Outcome},
    ledger::{
        read::{Dimension, Figures, Order, Pick, Query, Totals},
        sample::{event, who},
    },
    money::Money,
    pricing::{Cost, CostSource},
};

/// 2026-11-20 00:00 UTC.
pub(super) const START: u64 = 1_795_132_800;
/// Days that events are spread over.
pub(super) const DAYS: u64 = 5;

/// A made-up attempt: when, by how many seconds, whose, what for, how it ended, what it cost, and which earlier one it
/// goes on with, or, if that was given up, corrects.
#[derive(Clone, Debug)]
pub(super) struct Made {
    second: u64,
    user: u8,
    case: u8,
    model: u8,
    outcome: usize,
    pico: i64,
    retries: Option<prop::sample::Index>,
    corrects: Option<prop::sample::Index>,
}

pub(super) fn made() -> impl Strategy<Value = Made> {
    // Seldom exactly at midnight or on a quarter, mostly anywhere.
    let second = prop_oneof![
        1 => (0..DAYS).prop_map(|day| day * 86_400),
        1 => (0..DAYS * 96).prop_map(|quarter| quarter * 900),
        8 => 0..DAYS * 86_400
    ];
    (
        second,
        0..4_u8,
        0..6_u8,
        0..3_u8,
        0..5_usize,
        -1..1_000_000_000_000_i64,
        proptest::option::weighted(0.3, any::<prop::sample::Index>()),
        proptest::option::weighted(0.3, any::<prop::sample::Index>()),
    )
        .prop_map(|(second, user, case, model, outcome, pico, retries, corrects)| Made {
            second,
            user,
            case,
            model,
            outcome,
            pico,
            retries,
            corrects,
        })
}

pub(super) fn events(made: &[Made]) -> Vec<(Event, Resolved)> {
    let mut events: Vec<(Event, Resolved)> = Vec::new();
    for one in made {
        let mut event = event(one.pico.max(0));
        event.started_at = at(START + one.second);
        event.outcome = Outcome::ALL[one.outcome];
        event.latency = Duration::from_millis(u64::from(one.case) * 100 + 1);
        if one.pico < 0 {
            event.cost = Cost::UNPRICED;
        }
        event.provider = ["openai", "anthropic"][usize::from(one.model % 2)].into();
        event.response_model = Some(format!("model-{}", one.model).into());
        event.error = (one.outcome == 1).then(|| "timeout".into());
        let mut who = who(&format!("u{}", one.user));
        who.account_name = Some(Text::new(["acme", "globex"][usize::from(one.user / 2 % 2)]));
        who.use_case = (one.case > 0).then(|| UseCase {
            name: Text::new(["summarize", "answer"][usize::from(one.case % 2)]),
            version: (one.case > 2).then_some(u32::from(one.case)),
            step: (one.case > 3).then(|| Text::new("draft")),
            ..UseCase::default()
        });
        if one.user == 3 && one.case == 0 {
            who.user_id = None;
        }
        if let (Some(index), false) = (one.retries, events.is_empty()) {
            let (earlier, its) = index.get(&events);
            let attempts = events.iter().filter(|(e, _)| e.call_id == earlier.call_id).count();
            event.call_id = earlier.call_id;
            event.attempt = u32::try_from(attempts).unwrap() + 1;
            who = its.clone();
        }
        let given_up: Vec<_> = events.iter().filter(|one| ended(&events, one) == Ended::GivenUp).collect();
        if let (Some(index), false) = (one.corrects, given_up.is_empty()) {
            let (old, its) = index.get(&given_up);
            let outcome = if event.outcome == Outcome::Abandoned { Outcome::Ok } else { event.outcome };
            event = Event { cost: event.cost, error: event.error, outcome, ..old.clone() };
            who = its.clone();
        }
        events.push((event, who));
    }
    events
}

/// How an attempt stands among all.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Known,
    GivenUp,
    /// It was given up, and its correction is there.
    Corrected,
    Correction,
}

fn ended(events: &[(Event, Resolved)], (event, _): &(Event, Resolved)) -> Ended {
    let again = events.iter().filter(|(e, _)| e.id == event.id).count() > 1;
    match (event.outcome == Outcome::Abandoned, again) {
        (true, false) => Ended::GivenUp,
        (true, true) => Ended::Corrected,
        (false, true) => Ended::Correction,
        (false, false) => Ended::Known,
    }
}

pub(super) fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

/// The name that an attempt has in a dimension.
fn named(dimension: Dimension, (event, who): &(Event, Resolved)) -> Option<String> {
    let case = who.use_case.as_ref();
    let text = |text: &Text| text.to_string();
    match dimension {
        Dimension::User => who.user_id.as_ref().map(text),
        Dimension::Account => who.account_name.as_ref().map(text),
        Dimension::UseCase => case.map(|case| text(&case.name)),
        Dimension::Version => case.and_then(|case| case.version).map(|version| version.to_string()),
        Dimension::Step => case.and_then(|case| case.step.as_ref().map(text)),
        Dimension::Provider => Some(event.provider.to_string()),
        Dimension::Model => event.response_model.as_ref().map(ToString::to_string),
        Dimension::Outcome => Some(event.outcome.name().into()),
        Dimension::Error => event.error.as_ref().map(ToString::to_string),
    }
}

/// The figures of one attempt among all.
fn alone(events: &[(Event, Resolved)], one: &(Event, Resolved)) -> (Figures, bool) {
    let (event, ended) = (&one.0, ended(events, one));
    let mut figures = Figures::default();
    let totals = &mut figures.totals;
    *totals = Totals { attempts: u64::from(ended != Ended::Correction), ..Totals::default() };
    let used = matches!(event.outcome, Outcome::Ok | Outcome::Aborted) || !event.usage.is_empty();
    let unpriced = used && event.cost.source == CostSource::Unpriced;
    let last = events.iter().filter(|(e, _)| e.call_id == event.call_id).map(|(e, _)| e.attempt).max();
    if last == Some(event.attempt) && ended != Ended::Corrected {
        *totals.calls.of(event.outcome) = 1;
        totals.unpriced_calls = u64::from(unpriced);
    }
    (totals.first_seen, totals.last_seen) = (Some(event.started_at), Some(event.started_at));
    if ended != Ended::Corrected {
        totals.cost = event.cost.amount;
        (totals.tokens.input, totals.tokens.output) = (10, 5);
        figures.cost_by_source[event.cost.source as usize] = event.cost.amount;
    }
    (figures, unpriced)
}

pub(super) type Names = Vec<Option<String>>;

/// A report by brute force: figures by names.
pub(super) fn expected(events: &[(Event, Resolved)], query: &Query) -> BTreeMap<Names, Figures> {
    let mut sums: BTreeMap<Names, Figures> = BTreeMap::new();
    let (since, until) = (query.since.unwrap_or(at(0)), query.until.unwrap_or(at(u64::MAX / 4)));
    let length = until.duration_since(since).unwrap_or_default();
    let before = if query.compare { since - length } else { since };
    for one in events {
        let (event, _) = one;
        let picked = query.picks.iter().all(|(dimension, pick)| match pick {
            Pick::Is(name) => named(*dimension, one).as_ref() == Some(name),
            Pick::Missing => named(*dimension, one).is_none(),
        });
        let (figures, unpriced) = alone(events, one);
        let sourced = query
            .source
            .is_none_or(|source| source == event.cost.source && (source != CostSource::Unpriced || unpriced));
        let found = query.search.is_empty()
            || query.by.iter().any(|d| named(*d, one).is_some_and(|name| name.contains(&query.search)));
        if !picked || !sourced || !found || !(before..until).contains(&event.started_at) {
            continue;
        }
        let row = sums.entry(query.by.iter().map(|d| named(*d, one)).collect()).or_default();
        if query.compare {
            row.before.get_or_insert(Money::ZERO);
        }
        if event.started_at < since {
            row.before = Some(row.before.unwrap_or_default() + figures.totals.cost);
        } else {
            row.add(&Figures { before: row.before.map(|_| Money::ZERO), ..figures });
        }
    }
    sums
}

/// What rows are ordered by, the largest first.
fn weight(order: Order, figures: &Figures) -> i128 {
    let totals = &figures.totals;
    let moment = |at: Option<SystemTime>| {
        at.map_or(0, |at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().cast_signed())
    };
    match order {
        Order::Cost => totals.cost.pico(),
        Order::Change => totals.cost.pico() - figures.before.unwrap_or_default().pico(),
        Order::Calls => totals.calls.total().into(),
        Order::Failed => totals.calls.failed.into(),
        Order::Tokens => totals.tokens.total().into(),
        Order::CostPerCall => figures.per_call().pico(),
        Order::LastSeen => moment(totals.last_seen),
        Order::FirstSeen => moment(totals.first_seen),
        Order::Name => 0,
    }
}

/// The names of rows in the order that is asked for; where it says nothing, theirs decides.
pub(super) fn ordered(query: &Query, rows: &BTreeMap<Names, Figures>) -> Vec<Names> {
    let mut rows: Vec<_> = rows.iter().collect();
    if query.order == Order::Name && query.reverse {
        rows.reverse();
    }
    rows.sort_by_key(|(_, figures)| {
        let weight = weight(query.order, figures);
        if query.reverse { weight } else { -weight }
    });
    rows.into_iter().map(|(names, _)| names.clone()).collect()
}
