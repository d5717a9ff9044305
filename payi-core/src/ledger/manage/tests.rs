//! Pruned, forgotten, exported, imported, checked.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    time::{Duration, SystemTime},
};

use crate::{
    context::{Resolved, Text},
    events::{Event, Exchange, Outcome},
    ledger::{
        Appender, Filter, Keep, Ledger,
        sample::{append, event, opening, who},
    },
    sink::tests::Place,
};

fn day(n: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_794_268_800 + n * 86_400)
}

/// Ten calls a day for four days, each of its own cost.
fn four_days(ledger: &Ledger) {
    let events: Vec<_> = (0..40_u64)
        .map(|n| {
            let mut event = event(i64::try_from(n).unwrap() + 1);
            event.started_at = day(n / 10) + Duration::from_secs(n % 10 * 3_600);
            (event, who(&format!("u{}", n % 3)))
        })
        .collect();
    append(ledger, &events);
}

#[test]
fn pruning_takes_the_calls_and_leaves_the_totals() {
    let ledger = Ledger::in_memory().unwrap();
    four_days(&ledger);
    let before = ledger.users(&Filter::new()).unwrap();
    let second_day = Filter::new().since(day(1)).until(day(2));
    let of_day = ledger.users(&second_day).unwrap();
    let pruned = ledger.prune(day(2) + Duration::from_secs(5)).unwrap();
    assert_eq!((pruned.before, pruned.facts, pruned.kept), (day(2), 20, 0));
    assert_eq!(ledger.users(&Filter::new()).unwrap().rows, before.rows);
    assert_eq!(ledger.users(&second_day).unwrap().rows, of_day.rows);
    assert_eq!(ledger.follow(0, 100).unwrap().len(), 20);
    assert_eq!(ledger.check().unwrap().problems, Vec::<String>::new());

    let mut late = event(1);
    late.started_at = day(0);
    let refused = append(&ledger, &[(late, who("u1"))]);
    assert_eq!((refused.facts, refused.too_late), (0, 1), "it could not be told from a duplicate");
    ledger.prune(day(9)).unwrap();
    assert!(ledger.follow(0, 1).unwrap().is_empty());
    append(&ledger, &[(event(1), who("u1"))]);
    assert_eq!(ledger.last_seq().unwrap(), 41, "numbers are not used twice");
}

#[test]
fn pruning_waits_for_deliverers() {
    let ledger = Ledger::in_memory().unwrap();
    ledger.register("pay-i", true).unwrap();
    four_days(&ledger);
    assert_eq!(ledger.prune(day(2)).unwrap().facts, 0);
    let lease = ledger.lease("deliver:pay-i", "me", Duration::from_secs(9)).unwrap().unwrap();
    ledger.set_cursor(&lease, "pay-i", 5).unwrap();
    let pruned = ledger.prune(day(2)).unwrap();
    assert_eq!((pruned.facts, pruned.kept), (5, 15));
}

#[test]
fn a_ledger_in_memory_does_not_grow_for_ever() {
    let ledger = Ledger::in_memory().unwrap();
    ledger.register("pay-i", true).unwrap();
    let events: Vec<_> = (0..500).map(|n| (event(n), who("u"))).collect();
    append(&ledger, &events);
    let total = ledger.users(&Filter::new()).unwrap().total;
    assert_eq!(ledger.trim_memory(1_000).unwrap(), 0);
    assert_eq!(ledger.trim_memory(100).unwrap(), 450, "not delivered, and counted");
    assert_eq!(ledger.follow(0, 1_000).unwrap().len(), 50);
    assert_eq!(ledger.users(&Filter::new()).unwrap().total, total);
}

#[test]
fn ranges_that_begin_where_calls_were_trimmed_add_up_to_the_total() {
    let ledger = Ledger::in_memory().unwrap();
    // One each second: the trimmed ones end within a quarter of an hour.
    let events: Vec<_> = (0..1_000_u32)
        .map(|n| {
            (
                Event { started_at: day(1) + Duration::from_secs(n.into()), ..event(i64::from(n) + 1) },
                who("u"),
            )
        })
        .collect();
    append(&ledger, &events);
    let total = ledger.users(&Filter::new()).unwrap().total;
    ledger.trim_memory(800).unwrap();
    assert_eq!(ledger.follow(0, 1_000).unwrap().len(), 400);
    for second in [10, 300, 599, 601, 700, 899, 900, 950] {
        let at = day(1) + Duration::from_secs(second);
        let of = |filter: Filter| ledger.users(&filter).unwrap().total;
        let (before, after) = (of(Filter::new().until(at)), of(Filter::new().since(at)));
        assert_eq!(before.cost + after.cost, total.cost, "{second}");
        assert_eq!(before.attempts + after.attempts, 1_000, "{second}");
    }
}

fn with_prompt(user: &str) -> (Event, Resolved) {
    let (mut event, mut who) = (event(3), who(user));
    event.exchange = Some(Box::new(Exchange {
        request_json: Some("{\"prompt\":\"my secret diary\"}".into()),
        response_headers: vec![("x-request-id".into(), "secret header".into())],
        ..Exchange::default()
    }));
    who.request_properties = vec![(Text::new("mail"), Some(Text::new("secret@example.org")))];
    (event, who)
}

#[test]
fn a_forgotten_person_is_nowhere_in_the_file() {
    let place = Place::new("forget");
    let ledger = Ledger::open(place.ledger()).unwrap();
    ledger.register("pay-i", true).unwrap();
    let events = [with_prompt("secret-ada"), (event(4), who("bob")), with_prompt("secret-ada")];
    append(&ledger, &events);
    ledger.with(|conn| super::super::fold::finish(conn, None)).unwrap();
    let lease = ledger.lease("deliver:pay-i", "me", Duration::from_secs(9)).unwrap().unwrap();
    ledger.set_cursor(&lease, "pay-i", 2).unwrap();
    let before = ledger.users(&Filter::new()).unwrap().total;

    let done = ledger.forget("secret-ada").unwrap();
    assert_eq!(done.attempts, 2);
    assert_eq!(done.delivered, [("pay-i".into(), vec![events[0].0.id])]);
    assert!(done.overwritten);
    let report = ledger.users(&Filter::new()).unwrap();
    assert_eq!(report.total, before, "totals stay");
    assert!(report.rows.iter().all(|row| !row.user_id.as_deref().unwrap().contains("ada")), "{report}");
    assert_eq!(ledger.check().unwrap().problems, Vec::<String>::new(), "and the chain holds");
    drop(ledger);
    for file in fs::read_dir(&place.0).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"secret"), "a trace is left");
    }
}

/// Pages that were full were split, and texts moved: copies of them must not stay behind.
#[test]
fn of_many_users_a_forgotten_one_leaves_no_trace() {
    let place = Place::new("forget-one-of-many");
    let ledger = Ledger::open(place.ledger()).unwrap();
    let id = |n: u32| format!("person-{:08x}-{n}", n.wrapping_mul(2_654_435_761));
    for batch in 0..40 {
        let events: Vec<_> = (0..50)
            .map(|n| {
                let (mut event, mut who) = (event(1), who(&id(batch * 50 + n)));
                who.request_properties = vec![(Text::new("of"), who.user_id.clone())];
                event.exchange = Some(Box::new(Exchange {
                    request_json: who.user_id.as_deref().map(Into::into),
                    ..Exchange::default()
                }));
                (event, who)
            })
            .collect();
        append(&ledger, &events);
    }
    ledger.with(|conn| super::super::fold::finish(conn, None)).unwrap();
    let forgotten: Vec<String> = (0..2_000).step_by(101).map(id).collect();
    for user in &forgotten {
        let done = ledger.forget(user).unwrap();
        assert_eq!((done.attempts, done.overwritten), (1, true));
    }
    assert_eq!(ledger.check().unwrap().problems, Vec::<String>::new());
    drop(ledger);
    let mut bytes = Vec::new();
    for file in fs::read_dir(&place.0).unwrap() {
        bytes.extend(fs::read(file.unwrap().path()).unwrap());
    }
    let there = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(there(&id(1)), "the others are there");
    let left: Vec<&String> = forgotten.iter().filter(|user| there(user)).collect();
    assert!(left.is_empty(), "traces of {left:?}");
}

#[test]
fn a_writer_does_not_use_a_forgotten_id_again() {
    let ledger = Ledger::in_memory().unwrap();
    let mut appender = Appender::default();
    let mut write = |user: &str| {
        let (event, who) = (event(1), who(user));
        ledger
            .with(|conn| appender.append(conn, [(&event, &who)], &[], "process:t", Keep::default()))
            .unwrap();
    };
    write("ada");
    ledger.forget("ada").unwrap();
    write("ada");
    let names: Vec<_> =
        ledger.users(&Filter::new()).unwrap().rows.into_iter().map(|r| r.user_id.unwrap()).collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"ada".into()), "{names:?}");
}

#[test]
fn an_export_makes_the_same_ledger_again() {
    let ledger = Ledger::in_memory().unwrap();
    four_days(&ledger);
    let asleep = event(9);
    let mut appender = Appender::default();
    let open = [(opening(&asleep), who("u1"))];
    ledger.with(|conn| appender.append(conn, [], &open, "process:gone", Keep::default())).unwrap();
    ledger.recover(&mut appender, "process:me").unwrap();
    append(&ledger, &[(asleep, who("u1")), with_prompt("José ☕")]);
    let mut retried = [event(1), event(2)];
    retried[1].call_id = retried[0].id;
    retried[1].attempt = 2;
    retried[0].outcome = Outcome::Failed;
    append(&ledger, &retried.map(|event| (event, who("u2"))));

    let mut lines = Vec::new();
    assert_eq!(ledger.export(None, &mut lines).unwrap(), 45);
    let copy = Ledger::in_memory().unwrap();
    let done = copy.import(&lines[..]).unwrap();
    assert_eq!((done.written, done.known), (45, 0));
    assert_eq!(copy.users(&Filter::new()).unwrap().rows, ledger.users(&Filter::new()).unwrap().rows);
    let again = copy.import(&lines[..]).unwrap();
    assert_eq!((again.written, again.known), (0, 45));
    let mut second = Vec::new();
    copy.export(None, &mut second).unwrap();
    assert_eq!(String::from_utf8(second).unwrap(), String::from_utf8(lines).unwrap());

    let mut one = Vec::new();
    assert_eq!(ledger.export(Some("José ☕"), &mut one).unwrap(), 1);
    assert!(String::from_utf8(one).unwrap().contains("my secret diary"), "an access request gets the prompt");
}

#[test]
fn an_import_says_which_line_is_wrong_without_quoting_it() {
    let ledger = Ledger::in_memory().unwrap();
    four_days(&ledger);
    let mut lines = Vec::new();
    ledger.export(None, &mut lines).unwrap();
    lines.extend_from_slice(b"{\"user_id\":\"secret\"}\n");
    let copy = Ledger::in_memory().unwrap();
    let error = copy.import(&lines[..]).unwrap_err().to_string();
    assert!(error.contains("line 41") && !error.contains("secret"), "{error}");
    assert_eq!(copy.last_seq().unwrap(), 40, "what came before it is there");
}

#[test]
fn a_check_finds_what_is_wrong() {
    let ledger = Ledger::in_memory().unwrap();
    four_days(&ledger);
    ledger.with(|conn| super::super::fold::finish(conn, None)).unwrap();
    assert!(ledger.check().unwrap().problems.is_empty());
    ledger.with(|conn| conn.execute("UPDATE facts SET cost = 0 WHERE seq = 7", [])).unwrap();
    ledger.with(|conn| conn.execute("DELETE FROM event_ids WHERE seq = 9", [])).unwrap();
    let problems = ledger.check().unwrap().problems;
    assert_eq!(problems.len(), 3, "{problems:?}");
}
