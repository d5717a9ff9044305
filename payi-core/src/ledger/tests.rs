//! The ledger as its users see it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use super::{
    Appender, Collector, Filter, Keep, Ledger, Sort, answers, dict, fold, foreign_id,
    read::{Dimension, Query, RequestOrder},
    sample::{append, event, opening, who},
    schema::writing,
};
use crate::{
    context::{Resolved, Text},
    events::{Event, Exchange, Outcome},
    money::Money,
    pricing::Cost,
    usage::{Bucket, FunctionCall, Guardrail, Usage},
};

fn rich() -> (Event, Resolved) {
    let mut event = event(1_234_567);
    event.streamed = true;
    event.time_to_first_token = Some(Duration::from_micros(1500));
    event.usage_estimated = true;
    event.elsewhere = vec![("claude-opus-5".into(), Usage::new().with(Bucket::Input, 3))];
    event.error = Some("timeout".into());
    event.reported_cost = Some(Money::from_pico(7));
    event.service_tier = Some("flex".into());
    event.geo = Some("us".into());
    event.exchange = Some(Box::new(Exchange {
        provider_uri: Some("https://api.openai.com/v1/".into()),
        instrumented_module: Some("reqwest/0.13.0".into()),
        response_headers: vec![("x-request-id".into(), "req_1".into())],
        function_calls: vec![FunctionCall { name: "lookup".into(), arguments: Some("{\"q\":1}".into()) }],
        guardrail: Some(Guardrail {
            id: Some("gr-1".into()),
            units: vec![("guardrail_topic".into(), 2)],
            ..Guardrail::default()
        }),
        request_json: Some("{}".into()),
        response_json: vec!["{\"a\":1}".into(), "{\"b\":2}".into()],
    }));
    let mut who = who("José ☕\n");
    who.limit_ids = vec![Text::new("premium"), Text::new("all")];
    who.request_tags = vec![Text::new("beta")];
    who.request_properties = vec![(Text::new("plan"), Some(Text::new("pro"))), (Text::new("none"), None)];
    who.price_as_category = Some(Text::new("system.azureopenai"));
    who.price_as_resource = Some(Text::new("gpt-4o"));
    who.resource_scope = Some(Text::new("region.eu"));
    who.proxy = Some(false);
    who.log_prompt_and_response = Some(true);
    let case = who.use_case.as_mut().unwrap();
    case.id = Some(Text::new("run-1"));
    case.step = Some(Text::new("draft"));
    case.properties = vec![(Text::new("doc"), Some(Text::new("42")))];
    (event, who)
}

#[test]
fn an_event_comes_back_as_it_went_in() {
    let ledger = Ledger::in_memory().unwrap();
    let (mut event, who) = rich();
    append(&ledger, &[(event.clone(), who.clone())]);
    let [stored] = ledger.follow(0, 10).unwrap().try_into().unwrap();
    assert_eq!(stored.who, who);
    // The file holds microseconds.
    let us = event.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    event.started_at = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(us).unwrap());
    assert_eq!(format!("{:?}", stored.event), format!("{event:?}"));
}

#[test]
fn a_ledger_of_the_first_schema_is_read_as_it_is_and_grows_when_it_is_written() {
    let place = std::env::temp_dir().join(format!("payi-schema-{}.db", std::process::id()));
    let ledger = Ledger::open(&place).unwrap();
    let named = Event { response_id: Some("resp_1".into()), category: "system.openai".into(), ..event(5) };
    append(&ledger, &[(named.clone(), who("u1"))]);
    ledger.with(|conn| fold::finish(conn, None)).unwrap();
    // As a collector of the first schema noted its answers.
    let note = "INSERT INTO response_ids(hash, seq) SELECT ?1, max(seq) FROM facts";
    let hash = answers::hash("system.openai", "resp_1");
    ledger.with(|conn| conn.execute(note, [hash])).unwrap();
    let first = "DROP TABLE extras; DROP TABLE answers; DROP TABLE peaks; PRAGMA user_version = 1";
    ledger.with(|conn| conn.execute_batch(first)).unwrap();
    drop(ledger);
    let old = Ledger::open_read_only(&place).unwrap();
    let find =
        |ledger: &Ledger, category: &str, id: &str| ledger.view(|v| v.by_response(category, id)).unwrap();
    assert_eq!(old.follow(0, 10).unwrap().len(), 1);
    let dearest = |ledger: &Ledger| {
        let query = Query { limit: Some(1), ..Query::default() };
        let found = ledger.view(|view| view.requests(&query, RequestOrder::Cost)).unwrap();
        found.rows.iter().map(|row| row.cost.amount).collect::<Vec<_>>()
    };
    assert_eq!(dearest(&old), [Money::from_pico(5)]);
    assert_eq!(find(&old, "system.openai", "resp_1"), Some(named.id));
    assert_eq!(find(&old, "system.openai", "nowhere"), None);
    assert_eq!(find(&old, "other", "resp_1"), None);
    let touched = old.with(|conn| conn.execute_batch("DELETE FROM facts"));
    assert!(touched.is_err(), "a reader wrote");
    drop(old);
    let ledger = Ledger::open(&place).unwrap();
    append(&ledger, &[rich()]);
    assert_eq!(dearest(&ledger), [Money::from_pico(1_234_567)]);
    assert_eq!(find(&ledger, "system.openai", "resp_1"), Some(named.id));
    let stored = ledger.follow(0, 10).unwrap();
    assert_eq!(stored.iter().map(|it| it.event.elsewhere.len()).collect::<Vec<_>>(), [0, 1]);
    drop(ledger);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", place.display()));
    }
}

#[test]
fn a_file_without_sums_by_days_is_read_by_quarters_and_gets_them() {
    let ledger = Ledger::in_memory().unwrap();
    let models = || {
        let query = Query { by: vec![Dimension::Model], ..Query::default() };
        ledger.view(|view| view.drivers(&query, &[])).unwrap().total.totals
    };
    append(&ledger, &[(event(5), who("u1")), (event(6), who("u2"))]);
    ledger.with(|conn| fold::finish(conn, None)).unwrap();
    let (days, before) = (models(), ledger.with(rows_by_days).unwrap());
    // As a payi that knows nothing of them leaves it.
    let none = "DELETE FROM rollup WHERE grain = 5; DELETE FROM meta WHERE key = 'folded_days'";
    ledger.with(|conn| conn.execute_batch(none)).unwrap();
    assert_eq!((models(), days.cost), (days, Money::from_pico(11)));
    append(&ledger, &[(event(7), who("u1"))]);
    ledger.with(|conn| fold::finish(conn, None)).unwrap();
    assert_eq!(models().cost, Money::from_pico(18));
    assert!(ledger.with(rows_by_days).unwrap() > before, "days that were there already came too");
    assert_eq!(ledger.check().unwrap().problems, Vec::<String>::new());
}

#[test]
fn what_cannot_be_read_does_not_take_the_place_of_sums_by_days() {
    let ledger = Ledger::in_memory().unwrap();
    append(&ledger, &[(event(5), who("u1")), (event(6), who("u2"))]);
    ledger.with(|conn| fold::finish(conn, None)).unwrap();
    let broken = "DELETE FROM meta WHERE key = 'folded_days';
                  UPDATE rollup SET body = substr(body, 1, length(body) - 3) WHERE grain = 3";
    ledger.with(|conn| conn.execute_batch(broken)).unwrap();
    append(&ledger, &[(event(7), who("u1"))]);
    ledger.with(|conn| fold::finish(conn, None)).unwrap();
    assert_eq!(ledger.with(|conn| dict::meta(conn, "folded_days")).unwrap(), 0);
    let problems = ledger.check().unwrap().problems;
    assert!(problems.iter().any(|it| it.contains("differ from one another")), "{problems:?}");
}

fn rows_by_days(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("SELECT count(*) FROM rollup WHERE grain = 5", [], |row| row.get(0))
}

#[test]
fn an_event_counts_once_however_often_it_comes() {
    let ledger = Ledger::in_memory().unwrap();
    let one = (event(5), who("u1"));
    append(&ledger, &[one.clone(), one.clone()]);
    let again = append(&ledger, &[one, (event(6), who("u1"))]);
    assert_eq!((again.facts, again.duplicates), (1, 1));
    let report = ledger.users(&Filter::new()).unwrap();
    assert_eq!(report.total.cost, Money::from_pico(11));
    assert_eq!(report.total.calls.ok, 2);
}

#[test]
fn a_retried_call_counts_once_by_its_last_attempt_and_costs_all_of_them() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 2, 0], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        let ledger = Ledger::in_memory().unwrap();
        let mut attempts = [event(1), event(2), event(4)];
        let call = attempts[0].id;
        for (attempt, n) in attempts.iter_mut().zip(1..) {
            attempt.call_id = call;
            attempt.attempt = n;
            attempt.outcome = if n == 3 { Outcome::Ok } else { Outcome::Failed };
        }
        let attempts = attempts.map(|attempt| (attempt, who("u1")));
        // One appender, as within one process.
        let batch: Vec<_> = order.iter().map(|&i| attempts[i].clone()).collect();
        append(&ledger, &batch);
        let total = ledger.users(&Filter::new()).unwrap().total;
        assert_eq!((total.calls.ok, total.calls.failed, total.attempts), (1, 0, 3), "{order:?}");
        assert_eq!(total.cost, Money::from_pico(7));
        assert!(ledger.follow(0, 9).unwrap().iter().all(|stored| stored.event.call_id == call));
    }
}

#[test]
fn rows_add_up_to_the_total_beyond_what_an_i64_holds() {
    let ledger = Ledger::in_memory().unwrap();
    let costs = [i64::MAX, i64::MAX, 1, 999_999, i64::MAX - 7];
    let events: Vec<_> =
        costs.iter().enumerate().map(|(i, &c)| (event(c), who(&format!("u{}", i % 2)))).collect();
    append(&ledger, &events);
    let report = ledger.users(&Filter::new()).unwrap();
    assert_eq!(report.rows.iter().map(|row| row.totals.cost).sum::<Money>(), report.total.cost);
    assert_eq!(report.total.cost.pico(), costs.iter().map(|&c| i128::from(c)).sum::<i128>());
}

#[test]
fn what_has_no_price_is_shown_as_such_and_what_failed_is_not() {
    let ledger = Ledger::in_memory().unwrap();
    let unpriced = |outcome, usage| {
        let mut event = event(0);
        (event.outcome, event.usage, event.cost) = (outcome, usage, Cost::UNPRICED);
        (event, Resolved::default())
    };
    let used = event(0).usage;
    append(
        &ledger,
        &[
            unpriced(Outcome::Ok, used),
            unpriced(Outcome::Failed, Usage::new()),
            unpriced(Outcome::Aborted, used),
        ],
    );
    let report = ledger.users(&Filter::new()).unwrap();
    assert_eq!(report.rows.len(), 1);
    assert_eq!(report.rows[0].user_id, None);
    assert_eq!(report.total.unpriced_calls, 2);
}

#[test]
fn a_lease_changes_hands_only_when_it_is_over_and_its_fence_grows() {
    let ledger = Ledger::in_memory().unwrap();
    let long = Duration::from_secs(60);
    let mine = ledger.lease("deliver:x", "a", long).unwrap().unwrap();
    assert_eq!(ledger.lease("deliver:x", "b", long).unwrap(), None);
    assert_eq!(
        ledger.lease("deliver:x", "a", long).unwrap().unwrap().fence,
        mine.fence,
        "renewing keeps the fence"
    );
    assert!(ledger.set_cursor(&mine, "x", 5).unwrap());
    ledger.release(&mine).unwrap();
    let theirs = ledger.lease("deliver:x", "b", long).unwrap().unwrap();
    assert!(theirs.fence > mine.fence);
    assert!(!ledger.set_cursor(&mine, "x", 9).unwrap(), "a late writer is refused");
    assert!(ledger.set_cursor(&theirs, "x", 3).unwrap());
    assert_eq!(ledger.cursor("x").unwrap(), 5, "a cursor never goes back");
}

#[test]
fn a_response_id_belongs_to_the_event_that_claimed_it_first() {
    let ledger = Ledger::in_memory().unwrap();
    let claims = [("chatcmpl-1", 1), ("chatcmpl-1", 1), ("chatcmpl-1", 2)];
    assert_eq!(ledger.claim_response_ids(&claims).unwrap(), [true, true, false]);
}

#[test]
fn what_a_dead_process_left_open_is_abandoned_and_corrected_if_it_was_only_asleep() {
    let ledger = Ledger::in_memory().unwrap();
    let (slept, died) = (event(7), event(9));
    let openings = [(opening(&slept), who("u1")), (opening(&died), who("u2"))];
    let mut appender = Appender::default();
    ledger.lease("process:gone", "process:gone", Duration::from_secs(60)).unwrap();
    ledger.with(|conn| appender.append(conn, [], &openings, "process:gone", Keep::default())).unwrap();
    assert_eq!(ledger.open_calls().unwrap(), 2);
    assert_eq!(ledger.recover(&mut appender, "process:other").unwrap(), 0, "its lease says that it lives");
    ledger.lease("process:gone", "process:gone", Duration::ZERO).unwrap();
    assert_eq!(ledger.recover(&mut appender, "process:gone").unwrap(), 0, "nobody abandons their own calls");
    assert_eq!(ledger.recover(&mut appender, "process:other").unwrap(), 2);
    assert_eq!(ledger.open_calls().unwrap(), 0);
    let total = ledger.users(&Filter::new()).unwrap().total;
    assert_eq!((total.calls.abandoned, total.calls.total(), total.attempts), (2, 2, 2));

    append(&ledger, &[(slept.clone(), who("u1"))]);
    append(&ledger, &[(slept, who("u1"))]);
    let total = ledger.users(&Filter::new()).unwrap().total;
    assert_eq!((total.calls.abandoned, total.calls.ok, total.attempts), (1, 1, 2));
    assert_eq!(total.cost, Money::from_pico(7));
    let stored = ledger.follow(0, 10).unwrap();
    assert_eq!(stored[2].corrects, Some(stored[0].seq));
    assert_eq!(stored[0].who.user_id, who("u1").user_id);
    assert_eq!(&*stored[0].event.provider, "openai");
}

#[test]
fn the_first_rows_are_those_of_the_whole_and_the_total_covers_all() {
    let ledger = Ledger::in_memory().unwrap();
    let events: Vec<_> = (0..700_i64).map(|n| (event(n % 97 * 1000 + n), who(&format!("u{n}")))).collect();
    append(&ledger, &events);
    for sort in [Sort::Cost, Sort::Calls, Sort::Tokens, Sort::LastSeen, Sort::User, Sort::Account] {
        let all = ledger.users(&Filter::new().sort(sort)).unwrap();
        let top = ledger.users(&Filter::new().sort(sort).limit(20)).unwrap();
        assert_eq!((all.rows.len(), top.rows.len()), (700, 20));
        assert_eq!(top.total, all.total);
        if matches!(sort, Sort::Cost | Sort::User | Sort::Account) {
            assert_eq!(top.rows, all.rows[..20], "{sort:?}");
        }
    }
}

#[test]
fn fault_17_work_that_panicked_in_a_transaction_does_not_stop_the_next() {
    let ledger = Ledger::in_memory().unwrap();
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        ledger.with(|conn| -> rusqlite::Result<()> {
            let _transaction = writing(conn)?;
            conn.execute("INSERT INTO losses VALUES('test', 1, 1)", [])?;
            panic!("in the middle")
        })
    }));
    assert!(broken.is_err());
    append(&ledger, &[(event(1), who("u1"))]);
    assert_eq!(ledger.users(&Filter::new()).unwrap().total.calls.ok, 1);
    let left: i64 =
        ledger.with(|conn| conn.query_row("SELECT count(*) FROM losses", [], |row| row.get(0))).unwrap();
    assert_eq!(left, 0, "half a transaction was kept");
}

#[test]
fn calls_stay_open_until_their_end_is_committed() {
    let ledger = Ledger::in_memory().unwrap();
    let (mut appender, keep) = (Appender::default(), Keep::default());
    let call = event(1);
    let openings = [(opening(&call), who("u1"))];
    ledger.with(|conn| appender.append(conn, [], &openings, "process:test", keep)).unwrap();
    assert_eq!(ledger.open_calls().unwrap(), 1);
    // The disk is full for a moment: what is undone is undone in memory too.
    ledger.with(|conn| conn.execute_batch("PRAGMA query_only = 1")).unwrap();
    let ended = who("u1");
    let end = |appender: &mut Appender| {
        ledger.with(|conn| appender.append(conn, [(&call, &ended)], &[], "process:test", keep))
    };
    assert!(end(&mut appender).is_err());
    let fails_late = ledger.with(|conn| {
        conn.execute_batch("PRAGMA query_only = 0")?;
        appender.transaction(conn, |appender| {
            appender.append_within(conn, [(&call, &ended)], &[], "process:test", keep)?;
            Err::<(), _>(rusqlite::Error::InvalidQuery)
        })
    });
    assert!(fails_late.is_err());
    assert_eq!(ledger.open_calls().unwrap(), 1);
    assert_eq!(end(&mut appender).unwrap().facts, 1);
    assert_eq!(ledger.open_calls().unwrap(), 0, "its row went with its end");
    assert_eq!(ledger.check().unwrap().problems, Vec::<String>::new());
}

#[test]
fn fault_28_sent_twice_out_of_order_to_two_replicas_and_a_week_late_it_is_charged_once() {
    let ledger = Ledger::in_memory().unwrap();
    let mut replicas = [(); 2].map(|()| Collector::new(&ledger, false).unwrap());
    let week_ago = SystemTime::now() - Duration::from_secs(7 * 86_400);
    let sent: Vec<_> = (0..20)
        .map(|n: u64| {
            let at = week_ago + Duration::from_secs(n * 30_000);
            let id = foreign_id("system.openai", &format!("resp-{n}"), Some(at));
            (Event { id, call_id: id, started_at: at, ..event(1_000) }, who("u1"))
        })
        .collect();
    let mut backwards = sent.clone();
    backwards.reverse();
    for (replica, batch) in [(0, &sent[..10]), (1, &backwards[..]), (0, &sent[..]), (1, &sent[5..6])] {
        assert_eq!(replicas[replica].place(batch).unwrap().len(), batch.len());
    }
    // The same batch holds one of them twice.
    let twice = [sent[0].clone(), sent[0].clone()];
    assert!(replicas[0].place(&twice).unwrap().iter().all(|placed| placed.duplicate));
    let total = ledger.users(&Filter::new()).unwrap().total;
    assert_eq!((total.calls.ok, total.cost), (20, Money::from_pico(20_000)));
    assert_eq!(ledger.check().unwrap().problems, Vec::<String>::new());
}
