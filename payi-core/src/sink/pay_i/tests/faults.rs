//! Delivery against a Pay-i that misbehaves in every way it can: the fault tests 20 to 29, by number.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Bench, NAME, PayIAnswer, SOON, event, item_error, testing, users};
use crate::sink::{
    WriterOptions,
    deliver::{Courier, OfLedger},
    files::{Files, Form},
};

#[test]
fn fault_20_a_server_that_fails_is_tried_less_and_less_often() {
    let benches: Vec<Bench> = [500, 502, 503, 504]
        .map(|status| {
            let bench = Bench::new();
            bench.server.script(move |_| PayIAnswer::status(status, ""));
            bench.record(event("u", "r"));
            bench.writer.flush(SOON).unwrap();
            bench
        })
        .into();
    std::thread::sleep(Duration::from_secs(3));
    for bench in benches {
        let tries = bench.server.requests().len();
        assert!((2..=4).contains(&tries), "{tries} tries in 3 seconds");
        assert!(bench.quarantined().is_empty());
        bench.server.script(|_| PayIAnswer::Ok);
        assert!(bench.flush());
    }
}

#[test]
fn fault_21_a_server_that_is_busy_is_left_alone_for_as_long_as_it_asks() {
    let bench = Bench::new();
    bench.server.script(|_| PayIAnswer::status(429, "retry-after: 1"));
    bench.record(event("u", "r"));
    bench.writer.flush(SOON).unwrap();
    let first = bench.server.wait_for(1, SOON)[0].at;
    bench.server.script(|_| PayIAnswer::Ok);
    let second = bench.server.wait_for(2, SOON)[1].at;
    assert!(second - first >= Duration::from_secs(1), "{:?}", second - first);
}

#[test]
fn fault_22_a_batch_that_is_too_large_is_halved() {
    let bench = Bench::new();
    bench.server.script(|request| {
        if request.events().len() > 3 { PayIAnswer::status(413, "") } else { PayIAnswer::Ok }
    });
    bench.record_many(20);
    assert!(bench.flush());
    let taken: usize = bench.server.requests().iter().map(|r| r.events().len()).filter(|n| *n <= 3).sum();
    assert_eq!(taken, 20);
    assert!(bench.quarantined().is_empty());
}

#[test]
fn fault_22_a_bad_event_is_found_in_a_batch_that_is_refused_whole() {
    let bench = Bench::new();
    bench.server.script(|request| {
        if users(request).iter().any(|u| u == "user-5") {
            PayIAnswer::status(422, "")
        } else {
            PayIAnswer::Ok
        }
    });
    bench.record_many(12);
    assert!(bench.flush());
    assert_eq!(bench.quarantined(), ["http_422"]);
}

#[test]
fn fault_22_a_wrong_key_pauses_and_loses_nothing() {
    let bench = Bench::new();
    bench.server.script(|_| PayIAnswer::status(401, ""));
    bench.record_many(3);
    assert!(!bench.flush());
    let tries = bench.server.requests().len();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(bench.server.requests().len(), tries, "it keeps knocking");
    assert!(bench.quarantined().is_empty());
    bench.server.script(|_| PayIAnswer::Ok);
    assert!(bench.flush());
    assert_eq!(bench.ledger().cursor(NAME).unwrap(), 3);
}

#[test]
fn fault_22_a_forbidden_event_is_set_aside_a_forbidden_key_is_not() {
    let bench = Bench::with(false, &WriterOptions::default());
    bench.server.script(|request| {
        if users(request) == ["user-0"] { PayIAnswer::status(403, "") } else { PayIAnswer::Ok }
    });
    bench.record_many(4);
    assert!(bench.flush());
    assert_eq!(bench.quarantined(), ["http_403"]);
    bench.server.script(|_| PayIAnswer::status(403, ""));
    bench.record_many(9);
    assert!(!bench.flush());
    assert!(bench.quarantined().len() <= 3, "{:?}", bench.quarantined());
}

#[test]
fn fault_23_only_the_bad_ones_of_a_bulk_are_set_aside() {
    let bench = Bench::new();
    bench.server.script(|request| {
        let events = request.events();
        let bad = events.iter().position(|e| e["user_id"] == "user-3");
        let errors: Vec<Value> =
            bad.map(|i| item_error(i, 400, "invalid_user_id", "no")).into_iter().collect();
        match request.header("xproxy-user-id") {
            Some("user-3") => PayIAnswer::Json(400, json!({"xproxy_error": {"code": "invalid_user_id"}})),
            _ => PayIAnswer::Json(200, json!({"request_id": "r", "errors": errors})),
        }
    });
    bench.record_many(8);
    assert!(bench.flush());
    assert_eq!(bench.quarantined(), ["invalid_user_id"]);
    assert_eq!(bench.ledger().cursor(NAME).unwrap(), 8);
}

#[test]
fn fault_24_a_server_that_is_not_there_or_says_nothing_loses_nothing() {
    let refused = {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        format!("http://{}", listener.local_addr().unwrap()) // closed again at the end of this block
    };
    let plain = testing::PayI::start().unwrap(); // no TLS there
    let tls = plain.url().replace("http://", "https://");
    for address in [refused.as_str(), "http://payi.invalid", &tls] {
        let bench = Bench::at(address);
        bench.record(event("u", "r"));
        assert!(!bench.flush(), "{address}");
        assert!(bench.quarantined().is_empty());
        assert_eq!(bench.ledger().cursor(NAME).unwrap(), 0);
    }
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{".to_vec();
    for answer in [PayIAnswer::Silence(Duration::from_secs(60)), PayIAnswer::Close, PayIAnswer::Raw(half)] {
        let bench = Bench::new();
        let scripted = answer.clone();
        bench.server.script(move |_| scripted.clone());
        bench.record(event("u", "r"));
        let started = Instant::now();
        assert!(!bench.flush(), "{answer:?}");
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{answer:?} held it up for {:?}",
            started.elapsed()
        );
        bench.server.script(|_| PayIAnswer::Ok);
        assert!(bench.flush(), "{answer:?}");
        let paths: Vec<_> = bench.server.requests().into_iter().map(|r| r.path).collect();
        assert!(paths.iter().all(|path| path == "/api/v1/ingest?id=r"), "{paths:?}");
    }
}

#[test]
fn fault_25_answers_that_are_none_lose_nothing() {
    let ok = |body: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    };
    let bad = [
        ok("<html>Welcome to Hotel Wi-Fi</html>"),
        ok("{\"request_id\": "),
        "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"request".into(),
        "HTTP/1.1 2".into(),
        "SSH-2.0-OpenSSH_9.2\r\n".into(),
        ok(&"x".repeat(8 << 20)),
        "HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            .into(),
    ];
    for answer in bad {
        let bench = Bench::new();
        let raw = answer.clone();
        bench.server.script(move |_| PayIAnswer::Raw(raw.clone().into_bytes()));
        bench.record(event("u", "r"));
        assert!(!bench.flush(), "{}", &answer[..answer.len().min(60)]);
        assert!(bench.quarantined().is_empty());
        bench.server.script(|_| PayIAnswer::Ok);
        assert!(bench.flush(), "{}", &answer[..answer.len().min(60)]);
        let ids: Vec<_> = bench.server.requests().into_iter().map(|r| r.path).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "the same event under two ids: {ids:?}");
    }
}

#[test]
fn fault_25_a_redirect_does_not_take_the_key_along() {
    let elsewhere = testing::PayI::start().unwrap();
    let bench = Bench::new();
    let location = format!("location: {}/api/v1/ingest", elsewhere.url());
    bench.server.script(move |_| PayIAnswer::status(308, &location));
    bench.record(event("u", "r"));
    assert!(!bench.flush());
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn fault_26_an_answer_that_would_unpack_to_gigabytes_is_not_unpacked() {
    let bench = Bench::new();
    let body = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3].repeat(1000);
    let head = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let answer = [head.into_bytes(), body].concat();
    bench.server.script(move |_| PayIAnswer::Raw(answer.clone()));
    bench.record(event("u", "r"));
    assert!(!bench.flush());
    assert!(
        bench.server.requests().iter().all(|r| r.header("accept-encoding").is_none()),
        "none was asked for"
    );
    bench.server.script(|_| PayIAnswer::Ok);
    assert!(bench.flush());
}

#[test]
fn fault_27_a_place_that_is_down_holds_up_no_other() {
    let bench = Bench::new();
    bench.server.script(|_| PayIAnswer::status(503, ""));
    let file = std::env::temp_dir().join(format!("payi-fault-27-{}.jsonl", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let couriers = [file.clone(), "/nowhere/at/all.json".into()].map(|path| {
        let form = if path == file { Form::Lines } else { Form::Offline };
        let source = OfLedger::new(bench.ledger().another().unwrap(), Files::cursor(form)).unwrap();
        Courier::start(source, Files::new(form, path)).unwrap()
    });
    bench.record_many(100);
    assert!(!bench.flush());
    let until = Instant::now() + SOON;
    assert!(couriers[0].wait(couriers[0].ask(), until), "the file is written");
    assert!(!couriers[1].wait(couriers[1].ask(), until), "the other cannot be");
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 100);
    assert_eq!(bench.ledger().cursor("json-lines").unwrap(), 100);
    assert_eq!(bench.ledger().cursor("offline").unwrap(), 0);
    assert_eq!(bench.ledger().cursor(NAME).unwrap(), 0);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn fault_28_an_event_sent_again_is_the_same_event() {
    let bench = Bench::new();
    // Taken, but the word of it is lost.
    bench.server.script(|_| PayIAnswer::Close);
    bench.record(event("u", "r"));
    assert!(!bench.flush());
    std::thread::sleep(Duration::from_millis(20));
    bench.server.script(|_| PayIAnswer::Ok);
    assert!(bench.flush());
    let requests = bench.server.requests();
    assert!(requests.len() >= 2);
    assert!(
        requests.iter().all(|r| r.path == requests[0].path && r.body == requests[0].body),
        "{requests:#?}"
    );
}

#[test]
fn fault_29_an_event_the_server_fails_at_does_not_hold_up_the_others() {
    let bench = Bench::new();
    bench.server.script(|request| {
        if users(request).iter().any(|u| u == "user-0") {
            PayIAnswer::status(500, "")
        } else {
            PayIAnswer::Ok
        }
    });
    bench.record_many(6);
    bench.writer.flush(SOON).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while bench.ledger().cursor(NAME).unwrap() < 6 && Instant::now() < until {
        // A flush is a reason to try at once, so the test need not wait for the back-off.
        bench.flush();
    }
    assert_eq!(bench.quarantined(), ["server_error"]);
    let mut users = bench.users();
    users.retain(|user| user != "user-0");
    users.sort();
    users.dedup();
    assert_eq!(users.len(), 5);
}
