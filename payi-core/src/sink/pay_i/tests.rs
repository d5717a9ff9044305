//! Delivery against a Pay-i that misbehaves in every way it can.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{NAME, PayI};
use crate::{
    events::Event,
    ledger::Ledger,
    sink::{
        Writer, WriterOptions,
        deliver::{Courier, OfLedger},
        sample,
    },
    testing::{self, PayIAnswer, PayIRequest},
};

const SOON: Duration = Duration::from_secs(10);

/// A ledger, a courier, and a Pay-i for them.
struct Bench {
    writer: Writer,
    courier: Courier,
    server: testing::PayI,
}

impl Bench {
    fn new() -> Self {
        Self::with(true, &WriterOptions { keep_exchanges: true, ..WriterOptions::default() })
    }

    fn with(bulk: bool, options: &WriterOptions) -> Self {
        let server = testing::PayI::start().unwrap();
        let writer = Writer::start(options).unwrap();
        let source = OfLedger::new(writer.ledger().another().unwrap(), NAME).unwrap();
        let courier = Courier::start(source, PayI::new(server.url(), "k-secret", bulk).unwrap()).unwrap();
        Self { writer, courier, server }
    }

    fn record(&self, event: Event) {
        self.writer.sink().record(event);
    }

    /// Writes `n` events in one go, so that they make one batch.
    fn record_many(&self, n: usize) {
        for i in 0..n {
            self.record(event(&format!("user-{i}"), &format!("resp-{}", Uuid::new_v4())));
        }
    }

    /// Everything written and, if it can be, delivered.
    fn flush(&self) -> bool {
        self.writer.flush(SOON).unwrap();
        self.courier.wait(self.courier.ask(), Instant::now() + SOON)
    }

    fn ledger(&self) -> &Ledger {
        self.writer.ledger()
    }

    /// Events delivered, by the user they are for.
    fn users(&self) -> Vec<String> {
        self.server.requests().iter().flat_map(users).collect()
    }

    fn quarantined(&self) -> Vec<String> {
        self.ledger().quarantined(NAME, 100).unwrap().into_iter().map(|q| q.reason).collect()
    }
}

/// Who the events of a request are for.
fn users(request: &PayIRequest) -> Vec<String> {
    match (request.header("xproxy-user-id"), request.events()) {
        (Some(user), _) => vec![user.to_owned()],
        (None, events) => events.iter().filter_map(|e| e["user_id"].as_str().map(str::to_owned)).collect(),
    }
}

fn event(user: &str, response_id: &str) -> Event {
    let id = Uuid::now_v7();
    let context = crate::context::builder().user_id(user).build();
    Event { id, call_id: id, context, response_id: Some(response_id.into()), ..sample::chat() }
}

fn item_error(index: usize, status: u16, code: &str, message: &str) -> Value {
    let error = json!({"code": code, "message": message});
    json!({"item_index": index, "xproxy_result": {"message": message, "statusCode": status, "xproxy_error": error}})
}

#[test]
fn a_single_event_goes_by_its_own_address_with_the_key() {
    let bench = Bench::new();
    bench.record(event("u-1", "chatcmpl-9"));
    assert!(bench.flush());
    let requests = bench.server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, "/api/v1/ingest?id=chatcmpl-9");
    assert_eq!(requests[0].header("xProxy-api-key"), Some("k-secret"));
    assert_eq!(requests[0].header("xProxy-User-ID"), Some("u-1"));
    assert_eq!(
        requests[0].body["provider_response_headers"],
        json!([{"name": "x-request-id", "value": "req_1"}])
    );
    assert_eq!(bench.ledger().cursor(NAME).unwrap(), 1);
}

#[test]
fn several_events_go_in_one_request() {
    let bench = Bench::new();
    bench.record_many(50);
    assert!(bench.flush());
    assert!(bench.server.requests().len() < 25, "{} requests for 50 events", bench.server.requests().len());
    assert_eq!(bench.users(), (0..50).map(|i| format!("user-{i}")).collect::<Vec<_>>());
}

#[test]
fn a_user_whom_no_header_can_carry_arrives() {
    for bulk in [true, false] {
        let bench = Bench::with(bulk, &WriterOptions::default());
        bench.record(event("曉明\nLi", "a"));
        assert!(bench.flush());
        let expected = if bulk { "曉明\nLi" } else { "%E6%9B%89%E6%98%8E%0ALi" };
        assert_eq!(bench.users(), [expected]);
    }
}

#[test]
fn a_server_without_bulk_gets_single_events() {
    let bench = Bench::new();
    bench.server.script(|request| match request.path.as_str() {
        "/api/v1/ingest/bulk" => PayIAnswer::status(404, ""),
        _ => PayIAnswer::Ok,
    });
    bench.record(event("é", "x"));
    bench.record_many(10);
    assert!(bench.flush());
    let single = bench.server.requests().iter().filter(|r| r.path.starts_with("/api/v1/ingest?id=")).count();
    assert_eq!(single, 11);
}

#[test]
fn only_the_bad_ones_of_a_bulk_are_set_aside() {
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
fn a_batch_that_is_too_large_is_halved() {
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
fn a_bad_event_is_found_in_a_batch_that_is_refused_whole() {
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
fn a_wrong_key_pauses_and_loses_nothing() {
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
fn a_forbidden_event_is_set_aside_a_forbidden_key_is_not() {
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
fn limits_that_block_are_left_out_once_named() {
    let bench = Bench::with(false, &WriterOptions::default());
    bench.server.script(|request| match request.header("xproxy-limit-ids") {
        Some(ids) if ids.split(',').any(|id| id == "hard") => {
            let error =
                json!({"code": "blocking_limit_not_allowed", "message": "limit 'hard' is of type block"});
            PayIAnswer::Json(400, json!({"statusCode": 400, "message": "no", "xproxy_error": error}))
        }
        _ => PayIAnswer::Ok,
    });
    for n in 0..3 {
        let context = crate::context::builder().limit_ids(["hard", "soft"]);
        let context = context.build();
        bench.record(Event { context, ..event("u", &format!("r{n}")) });
    }
    assert!(bench.flush());
    let ids: Vec<_> =
        bench.server.requests().iter().map(|r| r.header("xproxy-limit-ids").map(str::to_owned)).collect();
    assert_eq!(
        ids,
        [Some("hard,soft"), Some("soft"), Some("soft"), Some("soft")].map(|id| id.map(str::to_owned))
    );
    assert!(bench.quarantined().is_empty());
}

#[test]
fn answers_that_are_none_lose_nothing() {
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
fn a_redirect_does_not_take_the_key_along() {
    let elsewhere = testing::PayI::start().unwrap();
    let bench = Bench::new();
    let location = format!("location: {}/api/v1/ingest", elsewhere.url());
    bench.server.script(move |_| PayIAnswer::status(308, &location));
    bench.record(event("u", "r"));
    assert!(!bench.flush());
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_server_that_is_busy_is_left_alone_for_as_long_as_it_asks() {
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
fn a_server_that_fails_is_tried_less_and_less_often() {
    let bench = Bench::new();
    bench.server.script(|_| PayIAnswer::status(503, ""));
    bench.record(event("u", "r"));
    bench.writer.flush(SOON).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let tries = bench.server.requests().len();
    assert!((2..=4).contains(&tries), "{tries} tries in 3 seconds");
}

#[test]
fn an_event_the_server_fails_at_does_not_hold_up_the_others() {
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

#[test]
fn a_repeated_response_id_is_sent_under_the_event_id() {
    let bench = Bench::new();
    bench.record(event("a", "same"));
    assert!(bench.flush());
    bench.record(event("b", "same"));
    assert!(bench.flush());
    let paths: Vec<_> = bench.server.requests().into_iter().map(|r| r.path).collect();
    assert_eq!(paths[0], "/api/v1/ingest?id=same");
    assert!(paths[1].starts_with("/api/v1/ingest?id=payi_"), "{}", paths[1]);
}

#[test]
fn what_went_through_the_proxy_is_not_sent_again() {
    let bench = Bench::new();
    let context = crate::context::builder().proxy(true).build();
    bench.record(Event { context, ..event("u", "r") });
    assert!(bench.flush());
    assert!(bench.server.requests().is_empty());
    assert_eq!(bench.ledger().cursor(NAME).unwrap(), 1);
}
