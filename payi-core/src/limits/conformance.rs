//! What every store of limits has to do, as a suite that runs on any of them.
//!
//! [`suite`] takes a maker of empty stores and panics where one of them does otherwise than the contract
//! says. Handles of one store by several processes are played by several names.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "it is a test")]

use std::{
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use crate::{
    context,
    error::{Error, Kind},
    events::{Event, LimitMark, Opening, Outcome, Verdict},
    limits::{
        Answer, Ask, Change, Counter, Give, Limit, LimitState, Measure, Scope, Store, Subject, Window,
        gate::{micros, now_us},
        wait::block_on,
    },
    money::Money,
    pricing::{Cost, CostSource},
    usage::{Bucket, Usage},
};

const US: i64 = 1_000_000;

/// Runs every check on stores that `make` makes.
pub fn suite(make: &dyn Fn() -> Arc<dyn Store>) {
    for check in [
        holds_and_settles_within_the_maximum,
        asks_others_before_it_refuses,
        settles_each_attempt_once,
        charges_a_dead_process_by_estimate_and_replaces_it_late,
        counts_by_window,
        a_rate_drains,
        a_rate_drains_as_fast_as_its_subject_may,
        a_clock_that_is_set_back_makes_no_room_and_takes_none,
        keeps_history_on_reset,
        lets_go_of_what_calls_held_before_a_reset,
        grants_nothing_above_a_lowered_maximum,
        changes_start_from_what_there_is,
        states_and_tallies,
        tells_of_what_one_batch_adds_to_several_slots,
        subjects_are_apart,
        totals_are_over_all_counters,
    ] {
        check(&*make());
    }
}

/// An attempt of `user` that began at `at_us` and came to `pico`.
pub fn event(user: &str, at_us: i64, pico: i128, held: &[&str]) -> Event {
    let mut event = Event::begun(&opening(user, at_us, held));
    event.outcome = Outcome::Ok;
    event.cost = Cost { amount: Money::from_pico(pico), source: CostSource::Computed };
    event.limits = held.iter().map(|id| LimitMark { limit: (*id).into(), verdict: Verdict::Held }).collect();
    event
}

/// Its beginning. The ids in `limit_ids` are attached.
pub fn opening(user: &str, at_us: i64, limit_ids: &[&str]) -> Opening {
    let id = Uuid::now_v7();
    Opening {
        id,
        call_id: id,
        attempt: 1,
        context: context::builder().user_id(user).limit_ids(limit_ids.to_vec()).build(),
        provider: "openai".into(),
        operation: "chat.completions".into(),
        category: "system.openai".into(),
        request_model: None,
        started_at: SystemTime::UNIX_EPOCH + Duration::from_micros(at_us.cast_unsigned()),
        estimate: None,
    }
}

/// The counter of a limit that has one for everybody.
pub fn whole(limit: &str) -> Counter {
    Counter { limit: limit.into(), subject: Subject::default() }
}

fn of_user(limit: &str, user: &str) -> Counter {
    Counter { limit: limit.into(), subject: Subject::new(user, "") }
}

fn ask(counter: &Counter, need: i128, want: i128) -> Ask {
    Ask { counter: counter.clone(), need, want, at_us: now_us(), recall: None }
}

fn take(store: &dyn Store, process: &str, ask: Ask) -> Answer {
    block_on(store.take(process, vec![ask])).unwrap().remove(0)
}

fn give(store: &dyn Store, process: &str, counter: &Counter, amount: i128) {
    let give = Give { counter: counter.clone(), amount, used_at_us: None };
    block_on(store.give(process, vec![give], Vec::new())).unwrap();
}

fn amount(answer: &Answer) -> Option<i128> {
    match answer {
        Answer::Granted { amount, .. } => Some(*amount),
        _ => None,
    }
}

fn stands(store: &dyn Store, counter: &Counter, at_us: i64) -> (i128, i128) {
    let standing = block_on(store.counter(counter, at_us)).unwrap().unwrap();
    (standing.settled, standing.held)
}

fn put(store: &dyn Store, limit: Limit) {
    block_on(store.put(limit, now_us() - US)).unwrap();
}

fn pico(pico: i128) -> Money {
    Money::from_pico(pico)
}

fn live(store: &dyn Store, processes: &[&str]) {
    for process in processes {
        block_on(store.keep(process, Duration::from_secs(60))).unwrap();
    }
}

fn holds_and_settles_within_the_maximum(store: &dyn Store) {
    put(store, Limit::block("l", pico(1_000)));
    live(store, &["a"]);
    let counter = whole("l");
    assert_eq!(take(store, "a", ask(&whole("nobody"), 1, 1)), Answer::Gone);
    // While there is plenty, a process is given more than it needs, and never all of it.
    let first = amount(&take(store, "a", ask(&counter, 100, 6_400))).unwrap();
    assert!((101..600).contains(&first), "{first}");
    give(store, "a", &counter, first - 100);
    assert_eq!(stands(store, &counter, now_us()), (0, 100));
    block_on(store.settle("a", vec![event("u", now_us(), 40, &["l"])])).unwrap();
    assert_eq!(stands(store, &counter, now_us()), (40, 60), "what was spent is held no longer");
    give(store, "a", &counter, 60);
    assert_eq!(amount(&take(store, "a", ask(&counter, 961, 961))), None);
    assert_eq!(amount(&take(store, "a", ask(&counter, 960, 9_600))), Some(960), "to the last unit");
    assert_eq!(stands(store, &counter, now_us()), (40, 960));
}

fn asks_others_before_it_refuses(store: &dyn Store) {
    put(store, Limit::block("l", pico(100)));
    live(store, &["a", "b"]);
    let counter = whole("l");
    assert_eq!(amount(&take(store, "a", ask(&counter, 70, 70))), Some(70));
    let Answer::Short { standing, asked: Some(number) } = take(store, "b", ask(&counter, 50, 50)) else {
        panic!("others are to be asked first");
    };
    assert_eq!((standing.held, standing.max), (70, 100));
    let again = Ask { recall: Some(number), ..ask(&counter, 50, 50) };
    assert!(matches!(take(store, "b", again.clone()), Answer::Short { asked: Some(n), .. } if n == number));
    assert_eq!(block_on(store.recalled("b")).unwrap(), [], "who asks is not asked");
    assert_eq!(block_on(store.recalled("a")).unwrap(), std::slice::from_ref(&counter));
    let over = Give { counter: counter.clone(), amount: 15, used_at_us: None };
    block_on(store.give("a", vec![over], vec![counter.clone()])).unwrap();
    assert_eq!(block_on(store.recalled("a")).unwrap(), []);
    assert!(matches!(take(store, "b", again), Answer::Short { asked: None, .. }), "all have answered");
    let fits = Ask { recall: Some(number), ..ask(&counter, 45, 450) };
    assert_eq!(
        amount(&take(store, "b", fits)),
        Some(45),
        "and what they gave is there, and no more than needed is taken"
    );
    assert_eq!(stands(store, &counter, now_us()), (0, 100));
}

fn settles_each_attempt_once(store: &dyn Store) {
    put(store, Limit::block("l", pico(1_000)));
    live(store, &["a"]);
    let counter = whole("l");
    take(store, "a", ask(&counter, 100, 100));
    let spent = event("u", now_us(), 70, &["l"]);
    for _ in 0..3 {
        block_on(store.settle("a", vec![spent.clone(), spent.clone()])).unwrap();
    }
    assert_eq!(stands(store, &counter, now_us()), (70, 30));
    // Without a reservation, and by a process that holds nothing.
    block_on(store.settle("nobody", vec![event("u", now_us(), 5, &["l"])])).unwrap();
    let mut free = event("u", now_us(), 6, &["l"]);
    free.limits.clear();
    block_on(store.settle("a", vec![free])).unwrap();
    assert_eq!(stands(store, &counter, now_us()), (81, 30));
    // More than was held.
    block_on(store.settle("a", vec![event("u", now_us(), 45, &["l"])])).unwrap();
    assert_eq!(stands(store, &counter, now_us()), (126, 0));
}

fn charges_a_dead_process_by_estimate_and_replaces_it_late(store: &dyn Store) {
    put(store, Limit::block("l", pico(1_000)));
    let late = given_up(store);
    assert_eq!(stands(store, &whole("l"), now_us()), (200, 0), "charged by estimate; the rest is free");
    for late in [vec![late.clone(), late.clone()], vec![late]] {
        block_on(store.settle("a", late)).unwrap();
        assert_eq!(stands(store, &whole("l"), now_us()), (120, 0), "how it really ended takes its place");
    }
    for remove in [false, true] {
        let (late, since) = (given_up(store), now_us() - 60 * US);
        if remove {
            block_on(store.remove("l")).unwrap();
            let limit = Limit::block("l", pico(1_000));
            block_on(store.update("l", (now_us(), since), &mut |_| Ok(limit.clone()))).unwrap();
        } else {
            block_on(store.reset("l", since)).unwrap();
        }
        block_on(store.settle("a", vec![late])).unwrap();
        assert_eq!(stands(store, &whole("l"), now_us()), (120, 0), "the estimate is not in there");
        assert_eq!(block_on(store.tally("l")).unwrap().total(), 1);
    }
}

/// How an attempt really ended whose process was given up: it held 300, and was charged 200 by estimate.
fn given_up(store: &dyn Store) -> Event {
    assert!(!block_on(store.keep("a", Duration::from_millis(30))).unwrap(), "new here, or given up");
    assert!(block_on(store.keep("a", Duration::from_millis(30))).unwrap());
    take(store, "a", ask(&whole("l"), 300, 300));
    let mut begun = opening("u", now_us(), &["l"]);
    let cost = Cost { amount: pico(200), source: CostSource::Estimated };
    begun.estimate = Some(Box::new((Usage::new(), cost)));
    block_on(store.open("a", vec![begun.clone()])).unwrap();
    thread::sleep(Duration::from_millis(60));
    assert_eq!([(); 2].map(|()| block_on(store.expire()).unwrap()), [1, 0]);
    let (late, id) = (event("u", micros(begun.started_at), 120, &["l"]), begun.id);
    Event { id, call_id: id, ..late }
}

fn counts_by_window(store: &dyn Store) {
    let day = 86_400 * US;
    let noon = 20_000 * day + day / 2;
    for (id, window) in
        [("day", Window::day("UTC").unwrap()), ("hour", Window::rolling(Duration::from_secs(3_600)))]
    {
        block_on(store.put(Limit::block(id, pico(100)).everyone().window(window), noon - 2 * day)).unwrap();
    }
    let (daily, hourly) = (whole("day"), whole("hour"));
    for (at, spent) in [(noon - day, 1), (noon - 2 * 3_600 * US, 2), (noon - 1_800 * US, 4), (noon, 8)] {
        block_on(store.settle("p", vec![event("u", at, spent, &[])])).unwrap();
    }
    assert_eq!(stands(store, &daily, noon).0, 14);
    assert_eq!(stands(store, &hourly, noon).0, 12);
    assert_eq!(stands(store, &hourly, noon + 1_900 * US).0, 8, "half an hour later the half hour is over");
    assert_eq!(stands(store, &hourly, noon + 3_599 * US).0, 8, "never forgotten too early");
    assert_eq!(stands(store, &hourly, noon + 3_661 * US).0, 0);
    assert_eq!(stands(store, &daily, noon + day / 2).0, 0, "a new day");
    assert_eq!(stands(store, &daily, noon).0, 14, "and a clock that is set back finds the old one");
    let frees = block_on(store.counter(&daily, noon)).unwrap().unwrap().frees_us;
    assert_eq!(frees, Some(noon + day / 2));
}

fn a_rate_drains(store: &dyn Store) {
    let limit = Limit::calls("r", 10).everyone().window(Window::rate(Duration::from_secs(10)));
    put(store, limit);
    live(store, &["a"]);
    let (counter, at_us) = (whole("r"), now_us());
    let ask = |need, at_us| Ask { at_us, ..ask(&counter, need, need) };
    assert_eq!(amount(&take(store, "a", ask(10, at_us))), Some(10));
    let used = Give { counter: counter.clone(), amount: 10, used_at_us: Some(at_us) };
    block_on(store.give("a", vec![used], Vec::new())).unwrap();
    assert_eq!(stands(store, &counter, at_us), (10, 0));
    assert_eq!(amount(&take(store, "a", ask(1, at_us + US - 1))), None);
    assert_eq!(amount(&take(store, "a", ask(1, at_us + US))), Some(1), "one comes back each second");
    assert_eq!(stands(store, &counter, at_us + US), (9, 1));
    assert_eq!(stands(store, &counter, at_us + 20 * US), (0, 1), "what is held does not drain");
    block_on(store.settle("a", vec![event("u", at_us, 5, &["r"])])).unwrap();
    assert_eq!(stands(store, &counter, at_us + US), (9, 1), "facts do not charge a rate");
}

fn used(store: &dyn Store, counter: &Counter, amount: i128, at_us: i64) {
    let used = Give { counter: counter.clone(), amount, used_at_us: Some(at_us) };
    block_on(store.give("a", vec![used], Vec::new())).unwrap();
}

fn a_rate_drains_as_fast_as_its_subject_may(store: &dyn Store) {
    let rate = Window::rate(Duration::from_secs(60));
    put(store, Limit::calls("r", 60).each_user().window(rate).override_count("ada", "", 6));
    live(store, &["a"]);
    let at_us = now_us();
    for (user, max) in [("ada", 6), ("bob", 60)] {
        let counter = of_user("r", user);
        let ask = |need, at_us| Ask { at_us, ..ask(&counter, need, need) };
        assert_eq!(amount(&take(store, "a", ask(max, at_us))), Some(max), "{user}");
        used(store, &counter, max, at_us);
        let one = 60 / i64::try_from(max).unwrap() * US;
        let frees = block_on(store.counter(&counter, at_us)).unwrap().unwrap().frees_us;
        assert_eq!(frees, Some(at_us + one), "{user}");
        assert_eq!(amount(&take(store, "a", ask(1, at_us + one - 1))), None, "{user}");
        assert_eq!(amount(&take(store, "a", ask(1, at_us + one))), Some(1), "{user}: one comes back");
        used(store, &counter, 1, at_us + one);
        assert_eq!(stands(store, &counter, at_us + one).0, max, "{user}");
    }
}

fn a_clock_that_is_set_back_makes_no_room_and_takes_none(store: &dyn Store) {
    let hour = 3_600 * US;
    let day = Window::rolling(Duration::from_secs(86_400));
    block_on(store.put(Limit::block("l", pico(10)).everyone().window(day), now_us() - 40 * hour)).unwrap();
    live(store, &["a"]);
    block_on(store.settle("a", vec![event("u", now_us(), 10, &[])])).unwrap();
    let an_hour_ago = Ask { at_us: now_us() - hour, ..ask(&whole("l"), 1, 1) };
    assert_eq!(amount(&take(store, "a", an_hour_ago)), None, "it was spent within 24 hours all the same");
    let two_days_ago = now_us() - 30 * hour;
    assert_eq!(stands(store, &whole("l"), two_days_ago).0, 0, "but not within these");
    // A rate that was used up by a clock that was ahead comes back as fast as any.
    put(store, Limit::calls("r", 1_000).everyone().window(Window::rate(Duration::from_secs(10))));
    let counter = whole("r");
    assert_eq!(amount(&take(store, "a", ask(&counter, 1_000, 1_000))), Some(1_000));
    used(store, &counter, 1_000, now_us() + hour);
    assert_eq!(amount(&take(store, "a", ask(&counter, 1, 1))), None);
    thread::sleep(Duration::from_millis(30));
    assert_eq!(amount(&take(store, "a", ask(&counter, 1, 1))), Some(1), "100 a second come back");
}

fn lets_go_of_what_calls_held_before_a_reset(store: &dyn Store) {
    let counter = whole("l");
    put(store, Limit::block("l", pico(10)));
    live(store, &["a"]);
    take(store, "a", ask(&counter, 8, 8));
    let begun = event("u", now_us(), 7, &["l"]);
    thread::sleep(Duration::from_millis(1));
    block_on(store.reset("l", now_us())).unwrap();
    block_on(store.settle("a", vec![begun])).unwrap();
    assert_eq!(
        stands(store, &counter, now_us()),
        (0, 1),
        "it does not count, and holds no more than it gives back"
    );
    give(store, "a", &counter, 1);
    // While the clock is behind the limit's making nothing counts, and nothing stays held.
    block_on(store.remove("l")).unwrap();
    block_on(store.put(Limit::block("l", pico(10)), now_us() + 3_600 * US)).unwrap();
    take(store, "a", ask(&counter, 8, 8));
    let begun = event("u", now_us(), 8, &["l"]);
    block_on(store.settle("a", vec![begun])).unwrap();
    assert_eq!(stands(store, &counter, now_us()), (0, 0));
    // What was held of another limit of that id, or before it counted something else, is not held of this one.
    for again in [Limit::block("l", pico(10)), Limit::tokens("l", 10)] {
        take(store, "a", ask(&counter, 8, 8));
        let mut begun = event("u", now_us(), 8, &["l"]);
        begun.usage = Usage::new().with(Bucket::Input, 8);
        thread::sleep(Duration::from_millis(1));
        if again.measure == Measure::Cost {
            block_on(store.remove("l")).unwrap();
        }
        block_on(store.put(again, now_us())).unwrap();
        assert_eq!(amount(&take(store, "a", ask(&counter, 8, 8))), Some(8));
        block_on(store.settle("a", vec![begun])).unwrap();
        assert_eq!(stands(store, &counter, now_us()), (0, 8));
    }
}

fn keeps_history_on_reset(store: &dyn Store) {
    put(store, Limit::block("l", pico(100)));
    block_on(store.settle("p", vec![event("u", now_us(), 130, &["l"])])).unwrap();
    let at_us = now_us() + US;
    let history = block_on(store.reset("l", at_us)).unwrap().unwrap();
    assert_eq!((history.settled, history.overrun, history.reset_us), (130, 30, at_us));
    assert_eq!((history.tally.overrun, history.tally.total()), (1, 1));
    assert_eq!(stands(store, &whole("l"), at_us), (0, 0));
    assert_eq!(block_on(store.tally("l")).unwrap().total(), 0);
    block_on(store.settle("p", vec![event("u", at_us - 1, 7, &["l"]), event("u", at_us, 8, &["l"])]))
        .unwrap();
    assert_eq!(stands(store, &whole("l"), at_us).0, 8, "what began before does not count");
    assert_eq!(block_on(store.reset("nobody", at_us)).unwrap(), None);
    assert!(block_on(store.remove("l")).unwrap() && !block_on(store.remove("l")).unwrap());
    assert_eq!(block_on(store.counter(&whole("l"), at_us)).unwrap(), None);
}

fn grants_nothing_above_a_lowered_maximum(store: &dyn Store) {
    put(store, Limit::block("l", pico(100)));
    live(store, &["a"]);
    let version = block_on(store.definitions(u64::MAX)).unwrap().unwrap().version;
    assert!(block_on(store.definitions(version)).unwrap().is_none());
    block_on(store.settle("a", vec![event("u", now_us(), 60, &["l"])])).unwrap();
    put(store, Limit::block("l", pico(50)));
    let found = block_on(store.definition("l")).unwrap();
    assert_eq!(found.map(|found| found.limit.max), Some(50));
    assert_eq!(block_on(store.definition("nobody")).unwrap(), None);
    assert_ne!(block_on(store.definitions(version)).unwrap().unwrap().version, version);
    assert_eq!(stands(store, &whole("l"), now_us()).0, 60, "what was spent stays");
    assert!(
        matches!(take(store, "a", ask(&whole("l"), 1, 1)), Answer::Short { asked: None, standing } if standing.room() == -10)
    );
    put(store, Limit::block("l", pico(70)));
    assert_eq!(amount(&take(store, "a", ask(&whole("l"), 10, 10))), Some(10));
    // Counted in something else, or by others, the old sum means nothing.
    let mut other = Limit::calls("l", 70);
    put(store, other.clone());
    assert_eq!(stands(store, &whole("l"), now_us()), (0, 0));
    other.scope = Scope::Everyone;
    put(store, other);
    assert!(block_on(store.put(Limit::block("x", pico(0)), 0)).unwrap_err().is_config());
}

fn changes_start_from_what_there_is(store: &dyn Store) {
    let known = || block_on(store.definitions(u64::MAX)).unwrap().unwrap();
    let change = |at_us, change: Change<'_>| block_on(store.update("l", (at_us, at_us), change));
    let made = change(1, &mut |old| {
        assert_eq!(old, None);
        Ok(Limit::block("another", pico(100)))
    });
    assert_eq!(&*made.unwrap().limit.id, "l", "the id is the one that was asked for");
    let named = change(2, &mut |old| Ok(Limit::clone(&old.unwrap().limit).name("n"))).unwrap();
    assert_eq!((&*named.limit.name, named.limit.max), ("n", 100));
    assert_eq!((named.created_us, named.updated_us), (1, 2));
    let version = known().version;
    let same = change(3, &mut |old| Ok(Limit::clone(&old.unwrap().limit))).unwrap();
    assert_eq!((same, known().version), (named.clone(), version), "the same is not written");
    for wrong in [Err(Error::new(Kind::Timeout, "no")), Ok(Limit::block("l", pico(0)))] {
        change(4, &mut |_| wrong.clone()).unwrap_err();
        assert_eq!(known().limits, std::slice::from_ref(&named), "and what is refused is not");
    }
}

fn states_and_tallies(store: &dyn Store) {
    put(store, Limit::allow("l", pico(100)).threshold_percent(80));
    let mut crossings = Vec::new();
    for spent in [79, 1, 10, 10, 1, 50] {
        crossings.extend(block_on(store.settle("p", vec![event("u", now_us(), spent, &["l"])])).unwrap());
    }
    let told: Vec<_> = crossings.iter().map(|c| (c.state, c.settled, c.max)).collect();
    assert_eq!(told, [(LimitState::Exceeded, 80, 100), (LimitState::Overrun, 101, 100)], "each once");
    let mut refused = event("u", now_us(), 0, &["l"]);
    refused.outcome = Outcome::Blocked;
    refused.limits = vec![LimitMark { limit: "l".into(), verdict: Verdict::Blocked }];
    let mut other = refused.clone();
    other.id = Uuid::now_v7();
    other.call_id = other.id;
    other.limits[0].verdict = Verdict::BlockedExternal;
    let mut failed = event("u", now_us(), 0, &["l"]);
    failed.outcome = Outcome::Failed;
    block_on(store.settle("p", vec![refused, other, failed])).unwrap();
    let tally = block_on(store.tally("l")).unwrap();
    assert_eq!((tally.ok, tally.exceeded, tally.overrun), (1, 3, 2));
    assert_eq!((tally.blocked, tally.blocked_external, tally.failed, tally.total()), (1, 1, 1, 9));
}

fn tells_of_what_one_batch_adds_to_several_slots(store: &dyn Store) {
    let hour = Window::rolling(Duration::from_secs(3_600));
    let limit = Limit::allow("l", pico(100)).threshold_percent(80).everyone().window(hour);
    block_on(store.put(limit, now_us() - 3_600 * US)).unwrap();
    let batch =
        [(300, 50), (120, 40), (0, 5)].map(|(ago, spent)| event("u", now_us() - ago * US, spent, &[]));
    let told = block_on(store.settle("p", batch.to_vec())).unwrap();
    let told: Vec<_> = told.iter().map(|c| (c.state, c.settled)).collect();
    assert_eq!(told, [(LimitState::Exceeded, 90)], "neither slot alone comes as far");
    let tally = block_on(store.tally("l")).unwrap();
    assert_eq!((tally.ok, tally.exceeded), (1, 2));
    assert_eq!(block_on(store.settle("p", vec![event("u", now_us(), 1, &[])])).unwrap(), []);
}

fn subjects_are_apart(store: &dyn Store) {
    let limit = Limit::block("u", pico(100)).each_user().override_for("ada", "", pico(200));
    put(store, limit);
    put(store, Limit { measure: Measure::Calls, ..Limit::calls("n", 3) }.everyone());
    for (user, spent) in [("ada", 150), ("bob", 60), ("bob", 30)] {
        block_on(store.settle("p", vec![event(user, now_us(), spent, &[])])).unwrap();
    }
    let counters = block_on(store.counters("u", now_us(), 10)).unwrap();
    let shown: Vec<_> = counters.iter().map(|(s, at)| (s.name.as_str(), at.settled, at.max)).collect();
    assert_eq!(shown, [("bob", 90, 100), ("ada", 150, 200)], "nearest to their maximum first");
    assert_eq!(stands(store, &of_user("u", "nobody"), now_us()), (0, 0));
    assert_eq!(stands(store, &whole("n"), now_us()).0, 3);
}

fn totals_are_over_all_counters(store: &dyn Store) {
    let limit = Limit::block("u", pico(100)).each_user().override_for("ada", "", pico(200));
    // Nobody's: an account has no account, and a user whom nobody has seen has no counter.
    put(store, limit.override_for("nobody", "", pico(1)));
    put(store, Limit::block("a", pico(1)).each_account().override_for("", "acme", pico(500)));
    put(store, Limit::block("l", pico(1)).override_for("ada", "", pico(500)));
    live(store, &["p"]);
    for (user, spent) in [("ada", 250), ("bob", 130), ("cy", 20), ("ada", 10)] {
        block_on(store.settle("p", vec![event(user, now_us(), spent, &["l"])])).unwrap();
    }
    assert_eq!(amount(&take(store, "p", ask(&of_user("u", "dan"), 90, 90))), Some(90));
    let totals = |id| block_on(store.totals(id, now_us())).unwrap().unwrap();
    let found = totals("u");
    assert_eq!((found.settled, found.overrun, found.tally.total()), (410, 60 + 30, 4));
    assert_eq!((totals("a").settled, totals("a").overrun), (410, 409));
    assert_eq!((totals("l").settled, totals("l").overrun), (410, 409));
    assert_eq!(block_on(store.totals("nobody", now_us())).unwrap(), None);
    let first = |most| -> Vec<(String, i128, i128)> {
        let counters = block_on(store.counters("u", now_us(), most)).unwrap();
        counters.into_iter().map(|(s, at)| (s.name.to_string(), at.settled, at.held)).collect()
    };
    let all: Vec<_> = [("ada", 260, 0), ("bob", 130, 0), ("dan", 0, 90), ("cy", 20, 0)]
        .map(|(user, settled, held)| (user.to_owned(), settled, held))
        .into();
    for most in 0..6 {
        assert_eq!(first(most), all[..most.min(4)], "{most}");
    }
    let history = block_on(store.reset("u", now_us())).unwrap().unwrap();
    assert_eq!(history.totals(), found);
}
