//! Delivery against a Pay-i on loopback.

mod faults;
mod hour;
mod moody;

use std::{
    future::Future as _,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{NAME, PayI};
use crate::{
    events::{Event, sample},
    ledger::Ledger,
    sink::{
        Writer, WriterOptions,
        deliver::{Courier, OfLedger},
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
        let address = server.url().to_owned();
        Self::between(server, &address, bulk, options)
    }

    /// Delivering to this address.
    fn at(address: &str) -> Self {
        Self::between(testing::PayI::start().unwrap(), address, true, &WriterOptions::default())
    }

    fn between(server: testing::PayI, address: &str, bulk: bool, options: &WriterOptions) -> Self {
        let writer = Writer::start(options).unwrap();
        let source = OfLedger::new(writer.ledger().another().unwrap(), NAME).unwrap();
        let pay_i = PayI::patient(address, "k-secret", bulk, Duration::from_secs(2)).unwrap();
        let courier = Courier::start(source, pay_i).unwrap();
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
fn what_was_set_aside_is_sent_again_when_somebody_asks_for_it() {
    let bench = Bench::new();
    bench.server.script(|_| PayIAnswer::status(422, ""));
    bench.record_many(3);
    assert!(bench.flush());
    assert_eq!(bench.quarantined().len(), 3);
    // One of them is still bad.
    bench.server.script(|request| match users(request)[0].as_str() {
        "user-1" => PayIAnswer::status(422, ""),
        _ => PayIAnswer::Ok,
    });
    assert!(bench.flush());
    assert_eq!(bench.quarantined().len(), 3, "not by itself");
    assert_eq!(bench.ledger().retry_quarantined(NAME).unwrap(), 3);
    assert!(bench.flush());
    assert_eq!(bench.quarantined(), ["http_422"]);
    assert_eq!(bench.ledger().quarantined(NAME, 9).unwrap()[0].attempts, 2);
    // While nobody is there it stays as it is.
    bench.server.script(|_| PayIAnswer::status(503, ""));
    bench.ledger().retry_quarantined(NAME).unwrap();
    assert!(!bench.flush());
    bench.server.script(|_| PayIAnswer::Ok);
    assert!(bench.flush());
    assert!(bench.quarantined().is_empty());
}

#[test]
fn what_went_through_the_proxy_is_not_sent_again() {
    let bench = Bench::new();
    let context = crate::context::builder().proxy(true).build();
    let event = Event { context, ..event("u", "r") };
    let said = crate::sink::delivered::delivered(event.id);
    bench.record(event);
    assert!(bench.flush());
    assert!(bench.server.requests().is_empty());
    let asked = std::pin::pin!(said).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert_eq!(
        asked,
        std::task::Poll::Ready(None),
        "whoever waits for word of it is told that there is none"
    );
    assert_eq!(bench.ledger().cursor(NAME).unwrap(), 1);
}
