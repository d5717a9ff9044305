//! Limits: what each one allows, what is used and reserved of it, and when it will be used up.

use std::{ops::Range, sync::Arc, time::SystemTime};

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use payi_core::{
    ledger::{Ledger, LedgerStore},
    limits::{Definition, Kind, Limit, LimitState, Limits, Measure, Scope, Standing, Subject, Tally, Window},
    money::Money,
};

use crate::{
    limits::{scope, state, whose},
    server::{
        app::{App, Failed},
        drivers::{self, Pager},
        format,
        page::{self, Frame, Section},
        params::Params,
    },
};

/// How many counters of one limit are shown.
const COUNTERS: usize = 20;
/// A quarter of an hour, in seconds.
const QUARTER: u64 = 900;

#[derive(Template)]
#[template(path = "limits.html")]
struct Page {
    frame: Frame,
    limits: Vec<Card>,
    pager: Pager,
}

/// One limit.
struct Card {
    id: String,
    name: String,
    what: String,
    calls: String,
    refused: String,
    rows: Vec<Row>,
    /// There are counters besides those.
    more: bool,
}

/// One counter.
struct Row {
    whose: String,
    state: &'static str,
    used: String,
    reserved: String,
    max: String,
    /// Of 1,000.
    used_bar: i128,
    reserved_bar: i128,
    until: String,
}

/// What a user has left of the limit that is nearest to its maximum.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) text: String,
    pub(crate) title: String,
    /// Of 1,000.
    pub(crate) used: i128,
    pub(crate) reserved: i128,
}

/// The subject of a row of the Users table: a user, and the account.
pub(crate) fn subject(names: &[Option<String>]) -> Subject {
    let name = |at: usize| names.get(at).and_then(Option::as_deref).unwrap_or_default();
    Subject::new(name(0), name(1))
}

/// Their budgets, where there are limits in dollars for each user.
pub(crate) fn budgets(ledger: &Ledger, subjects: &[Subject]) -> payi_core::Result<Vec<Option<Budget>>> {
    let limits = Limits::of(Arc::new(LedgerStore::new(ledger.clone())));
    let each = |definition: &Definition| {
        definition.limit.scope == Scope::EachUser && definition.limit.measure == Measure::Cost
    };
    let definitions: Vec<Definition> = limits.list()?.into_iter().filter(each).collect();
    let now = SystemTime::now();
    subjects.iter().map(|subject| budget(&limits, &definitions, subject, now)).collect()
}

fn budget(
    limits: &Limits,
    definitions: &[Definition],
    subject: &Subject,
    now: SystemTime,
) -> payi_core::Result<Option<Budget>> {
    let mut nearest: Option<Row> = None;
    for definition in definitions {
        if let Some(at) = limits.standing(&definition.limit.id, subject)? {
            let found = row(definition, subject, &at, now);
            if nearest.as_ref().is_none_or(|row| row.used_bar < found.used_bar) {
                nearest = Some(found);
            }
        }
    }
    Ok(nearest.map(|row| Budget {
        text: format!("{} of {}", row.used.trim_end_matches(" USD"), row.max),
        title: format!(
            "{} used, {} reserved of {}; used up in: {}",
            row.used, row.reserved, row.max, row.until
        ),
        used: row.used_bar,
        reserved: row.reserved_bar,
    }))
}

/// The page.
pub(crate) async fn show(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    let params = Params::read(&query.unwrap_or_default());
    let (as_of, in_flight) = app.view(|view| Ok((view.as_of(), view.health()?.in_flight))).await?;
    let skipped = (params.page - 1) * params.per_page;
    let some = skipped..skipped + params.per_page;
    let (limits, count) =
        app.read(|ledger| read(ledger, some, SystemTime::now())).await?.map_err(Failed::Ledger)?;
    let pager = drivers::pager(&params, "/limits", limits.len(), count);
    let page =
        Page { frame: Frame::new(Section::Limits, "Limits", &params, as_of, in_flight), limits, pager };
    Ok(page::render(&page))
}

/// Some of the limits, and how many there are: instances of use cases may have one each.
fn read(ledger: &Ledger, some: Range<usize>, now: SystemTime) -> payi_core::Result<(Vec<Card>, usize)> {
    let limits = Limits::of(Arc::new(LedgerStore::new(ledger.clone())));
    let mut cards = Vec::new();
    let mut all = limits.list()?;
    // Those for everybody first; those that calls name are the many.
    all.sort_by_key(|definition| definition.limit.scope == Scope::Attached);
    let count = all.len();
    for definition in all.into_iter().skip(some.start).take(some.len()) {
        let id = &definition.limit.id;
        let mut counters = limits.status(id, COUNTERS + 1)?;
        if counters.is_empty() {
            counters.extend(limits.standing(id, &Subject::default())?.map(|at| (Subject::default(), at)));
        }
        let tally = limits.tally(id)?;
        cards.push(card(&definition, &counters, tally, now));
    }
    Ok((cards, count))
}

fn card(definition: &Definition, counters: &[(Subject, Standing)], tally: Tally, now: SystemTime) -> Card {
    let limit = &definition.limit;
    let kind = if limit.kind == Kind::Block { "refuses calls" } else { "tells only" };
    Card {
        id: format::clipped(&limit.id),
        name: format::clipped(&limit.name),
        what: format!("{}, {}, {kind}", limit.window.describe(), scope(limit.scope)),
        calls: format::count(tally.total()),
        refused: format::count(tally.of(LimitState::Blocked)),
        rows: counters.iter().take(COUNTERS).map(|(subject, at)| row(definition, subject, at, now)).collect(),
        more: counters.len() > COUNTERS,
    }
}

fn row(definition: &Definition, subject: &Subject, at: &Standing, now: SystemTime) -> Row {
    let limit = &definition.limit;
    let whole = matches!(limit.scope, Scope::Attached | Scope::Everyone);
    let bar = |amount: i128| format::permille(amount.max(0), at.max).unwrap_or(0).min(1_000);
    let used_bar = bar(at.settled);
    Row {
        whose: if whole { "All calls".into() } else { format::clipped(&whose(limit, subject, at)) },
        state: state(limit, at),
        used: shown(limit, at.settled),
        reserved: shown(limit, at.held),
        max: shown(limit, at.max),
        used_bar,
        reserved_bar: bar(at.held).min(1_000 - used_bar),
        until: until(definition, at, now),
    }
}

/// An amount with its unit.
fn shown(limit: &Limit, amount: i128) -> String {
    match limit.measure {
        Measure::Cost => format!("{} USD", format::money(Money::from_pico(amount))),
        measure => measure.show(amount),
    }
}

/// From how many seconds on it can be said how fast a limit is used up: a quarter of an hour, or all of a shorter window.
fn enough(window: &Window) -> u64 {
    match window {
        Window::Rolling { seconds } | Window::Rate { seconds } => u64::from(*seconds).min(QUARTER),
        _ => QUARTER,
    }
}

/// When it will be used up, at the rate of the window so far; not told while that is too short to tell.
fn until(definition: &Definition, at: &Standing, now: SystemTime) -> String {
    if at.settled >= at.max {
        return "used up".into();
    }
    let since = SystemTime::UNIX_EPOCH + definition.counts_since(now);
    let passed = now.duration_since(since).unwrap_or_default().as_secs();
    let left = at.max - at.settled - at.held;
    let early = passed < enough(&definition.limit.window);
    if at.settled <= 0 || early || definition.limit.measure == Measure::Concurrent {
        return "—".into();
    }
    let seconds = left.max(0).saturating_mul(passed.into()) / at.settled;
    match u64::try_from(seconds).unwrap_or(u64::MAX) {
        s if s < 3_600 => format!("{} min", s / 60),
        s if s < 2 * 86_400 => format!("{} h", s / 3_600),
        s if s < 730 * 86_400 => format!("{} d", s / 86_400),
        _ => "over 2 years".into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn the_rate_of_a_few_seconds_tells_nothing() {
        let ledger = Ledger::in_memory().unwrap();
        let limits = Limits::of(Arc::new(LedgerStore::new(ledger)));
        let now = SystemTime::now();
        let after = |window, seconds: i64| {
            let limit = Limit::calls("l", 100).everyone().window(window);
            let mut definition = limits.update(limit).unwrap();
            let now_us =
                i64::try_from(now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros()).unwrap();
            definition.created_us = now_us - seconds * 1_000_000;
            definition.epoch_us = definition.created_us;
            let mut at = Standing::default();
            (at.max, at.settled) = (100, 50);
            until(&definition, &at, now)
        };
        let minute = || Window::rolling(Duration::from_secs(60));
        assert_eq!((after(Window::Lifetime, 5), after(Window::Lifetime, 899)), ("—".into(), "—".into()));
        assert_eq!(after(Window::Lifetime, 1_200), "20 min");
        assert_eq!((after(minute(), 5), after(minute(), 120)), ("—".into(), "1 min".into()));
    }
}
