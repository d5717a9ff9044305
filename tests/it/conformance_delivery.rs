//! Everything about delivery that the official SDK was seen to do, done by us: the same requests, and
//! where the SDK loses events or holds up its caller, what it should have done instead.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use payi::testing::{PayI, PayIAnswer, PayIRequest};
use serde_json::{Map, Value, json};

use crate::{
    payi::{Replay, Tally, Went, bodies, cases, compare, instrument, runtime},
    support::{TempDir, alone},
};

const SOON: Duration = Duration::from_secs(10);

/// Whether a case is about delivery.
fn is_ours(name: &str) -> bool {
    let topics = ["hdr_", "payi_", "client_ingest_", "offline", "err_", "log_", "proxy_"];
    topics.iter().any(|topic| name.starts_with(topic)) && name != "proxy_blocked_400"
}

/// What Pay-i is sent, and what it answers, in one case.
struct Bench {
    pay_i: PayI,
    found: Vec<String>,
}

impl Bench {
    fn new(case: &Value) -> Self {
        let pay_i = PayI::start().unwrap();
        let script = case["payi"].as_array().cloned().unwrap_or_default();
        let mut asked = 0;
        pay_i.script(move |_| {
            let answer = script.get(asked).or(script.last());
            asked += 1;
            answer.map_or(PayIAnswer::Ok, scripted)
        });
        Self { pay_i, found: Vec::new() }
    }

    /// Runs the case with payi set as it says; the guard's last act is part of it.
    fn replay<'c>(&self, case: &'c Value, times: usize, end: impl FnOnce(&payi::Guard)) -> Replay<'c> {
        let settings = &case["instrument"];
        let log = settings["log_prompt_and_response"].as_bool().unwrap_or(true);
        let proxy = settings["config"]["proxy"].as_bool();
        let guard = instrument(&self.pay_i).log_prompt_and_response(log).proxy(proxy).start().unwrap();
        let mut replay = Replay::new(case);
        runtime().block_on(replay.run(times));
        end(&guard);
        replay
    }

    fn same(&mut self, replay: &Replay<'_>, n: usize, sent: &PayIRequest) {
        self.found.extend(replay.differences(n, sent));
    }

    /// One call, one request, and that as captured.
    fn plain(&mut self, case: &Value) -> Replay<'static> {
        let case: &'static Value = Box::leak(Box::new(case.clone()));
        let replay = self.replay(case, 1, |guard| assert!(flush(guard)));
        let requests = self.pay_i.requests();
        compare("requests", json!(1), json!(requests.len()), &mut self.found);
        self.same(&replay, 0, &requests[0]);
        replay
    }
}

fn flush(guard: &payi::Guard) -> bool {
    runtime().block_on(guard.flush(SOON)).is_ok()
}

fn scripted(answer: &Value) -> PayIAnswer {
    let status = u16::try_from(answer["status"].as_u64().unwrap_or(200)).unwrap();
    if let Some(delay) = answer["delay"].as_f64() {
        return PayIAnswer::Late(Duration::from_secs_f64(delay));
    }
    if let Some((name, value)) = answer["headers"].as_object().and_then(|headers| headers.iter().next()) {
        return PayIAnswer::status(status, &format!("{name}: {}", value.as_str().unwrap()));
    }
    match &answer["json"] {
        Value::Null => PayIAnswer::status(status, ""),
        json => PayIAnswer::Json(status, json.clone()),
    }
}

fn run(case: &Value) -> (Went, Vec<String>) {
    let mut bench = Bench::new(case);
    let name = case["name"].as_str().unwrap();
    let went = what_is_sent(name, case, &mut bench)
        .or_else(|| what_is_answered(name, case, &mut bench))
        .or_else(|| what_is_done_by_hand(name, case, &mut bench));
    let went = went.unwrap_or_else(|| {
        bench.plain(case);
        Went::Same
    });
    (went, bench.found)
}

/// Cases about what Pay-i, or the provider, is sent.
fn what_is_sent(name: &str, case: &Value, bench: &mut Bench) -> Option<Went> {
    Some(match name {
        "hdr_bad_properties_json" => {
            // The call is made, and the header is ignored.
            let replay = bench.replay(case, 1, |guard| assert!(flush(guard)));
            compare(
                "the provider is asked",
                json!(1),
                json!(replay.provider.requests().len()),
                &mut bench.found,
            );
            let sent = bench.pay_i.requests().remove(0);
            compare("status", json!(200), sent.body["http_status_code"].clone(), &mut bench.found);
            Went::Better("a bad properties header is ignored; the SDK raises out of the caller's call")
        }
        "log_off_header" => {
            let replay = bench.replay(case, 1, |guard| assert!(flush(guard)));
            let mut sent = bench.pay_i.requests().remove(0);
            let body = sent.body.as_object_mut().unwrap();
            assert!(body.remove("provider_request_json").is_some());
            assert!(body.remove("provider_response_json").is_some());
            bench.same(&replay, 0, &sent);
            Went::Better("xProxy-Logging-Disable: False does not disable")
        }
        "err_400_log_off" => {
            let case = without(case, "provider_response_json");
            bench.plain(&case);
            Went::Better("the body of an error is not sent when logging is off")
        }
        "err_429_provider_retries" => {
            let replay = bench.replay(case, 2, |guard| assert!(flush(guard)));
            let events = bench.pay_i.events();
            let statuses: Vec<_> = events.iter().map(|event| event["http_status_code"].clone()).collect();
            compare("statuses", json!([429, 200]), json!(statuses), &mut bench.found);
            drop(replay);
            Went::Better("one event per attempt, not one per call: a refused attempt is seen too")
        }
        "proxy_headers" | "proxy_per_context" => {
            // The provider stands at Pay-i's address: anybody else is told nothing.
            let mut replay = Replay::new(case);
            let proxy = case["instrument"]["config"]["proxy"].as_bool();
            let builder = payi::instrument().in_memory().use_case_name("").log_prompt_and_response(true);
            let guard = builder.proxy(proxy).base_url(replay.provider.url()).start().unwrap();
            runtime().block_on(replay.run(1));
            assert!(flush(&guard));
            drop(guard);
            let of = |headers: Vec<(String, Value)>| -> Value {
                headers
                    .into_iter()
                    .filter(|(name, _)| name.starts_with("xproxy-"))
                    .collect::<Map<_, _>>()
                    .into()
            };
            let captured = case["captured"]["provider_requests"][0]["headers"].as_object().unwrap();
            let theirs = captured.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            let asked = replay.provider.requests().remove(0);
            let ours = asked.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            compare("headers", of(theirs), of(ours), &mut bench.found);
            // The same call, made to somebody who is not Pay-i, is an event like any other.
            let astray = bench.replay(case, 1, |guard| assert!(flush(guard)));
            compare("events of a call astray", json!(1), json!(bench.pay_i.events().len()), &mut bench.found);
            let told = astray.provider.requests().remove(0).headers;
            assert!(told.iter().all(|(name, _)| !name.starts_with("xproxy-")), "{told:?}");
            Went::Same
        }
        _ => return None,
    })
}

/// Cases about what Pay-i answers.
fn what_is_answered(name: &str, case: &Value, bench: &mut Bench) -> Option<Went> {
    Some(match name {
        "payi_400" => {
            let replay = bench.replay(case, 1, |guard| {
                flush(guard);
                assert_eq!(guard.metrics().deliveries[0].refused, 1, "it is set aside");
            });
            let sent = bench.pay_i.requests();
            compare("requests", json!(1), json!(sent.len()), &mut bench.found);
            bench.same(&replay, 0, &sent[0]);
            Went::Same
        }
        "payi_401" => {
            let replay = bench.replay(case, 1, |guard| {
                bench.pay_i.wait_for(1, SOON);
                std::thread::sleep(Duration::from_millis(300));
                assert_eq!(guard.metrics().deliveries[0].lag, 1, "it is kept");
                assert_eq!(guard.metrics().deliveries[0].trouble, Some("invalid_api_key"));
            });
            let sent = bench.pay_i.requests();
            bench.same(&replay, 0, &sent[0]);
            Went::Better("after a 401 the event is kept, and sent once the key is right; the SDK loses it")
        }
        "payi_429_retry_after" => {
            let replay = bench.replay(case, 1, |_| {
                bench.pay_i.wait_for(2, SOON);
            });
            let sent = bench.pay_i.requests();
            compare("requests", json!(2), json!(sent.len()), &mut bench.found);
            bench.same(&replay, 0, &sent[0]);
            bench.same(&replay, 1, &sent[1]);
            Went::Same
        }
        "payi_500_exhausted" => {
            let replay = bench.replay(case, 1, |guard| {
                for _ in 0..3 {
                    assert!(!flush(guard));
                }
                bench.pay_i.script(|_| PayIAnswer::Ok);
                assert!(flush(guard), "it arrives in the end");
            });
            let sent = bench.pay_i.requests();
            (0..3).for_each(|n| bench.same(&replay, n, &sent[n]));
            Went::Better("the event is kept until it is taken; the SDK gives up after three attempts")
        }
        "payi_504_queue" => {
            let replay = bench.replay(case, 1, |guard| {
                bench.pay_i.wait_for(4, SOON);
                assert!(flush(guard));
            });
            let sent = bench.pay_i.requests();
            compare("requests", json!(4), json!(sent.len()), &mut bench.found);
            sent.iter().enumerate().for_each(|(n, sent)| bench.same(&replay, n, sent));
            Went::Same
        }
        "payi_504_shutdown" => shutdown(case, bench),
        "payi_slow" => {
            let replay = bench.replay(case, 1, |guard| {
                // The caller has his answer, and Pay-i takes its time yet.
                let answered = Instant::now();
                assert!(flush(guard));
                let waited = answered.elapsed();
                assert!(waited > Duration::from_millis(200), "Pay-i was done {waited:?} after the call");
            });
            let sent = bench.pay_i.requests();
            bench.same(&replay, 0, &sent[0]);
            Went::Better("Pay-i's 0.7 s are not added to the caller's call")
        }
        "payi_warnings" => {
            let replay = bench.plain(case);
            let said = runtime().block_on(replay.receipts[0].delivered()).unwrap();
            compare("warnings", json!(["w1"]), json!(said.warnings), &mut bench.found);
            compare("unknown units", json!(["zz"]), json!(said.unknown_units), &mut bench.found);
            Went::Better("warnings are told to the receipt, and not logged: they may name a user")
        }
        _ => return None,
    })
}

fn what_is_done_by_hand(name: &str, case: &Value, bench: &mut Bench) -> Option<Went> {
    Some(match name {
        "offline" => offline(case, bench),
        "client_ingest_units" => by_hand(case, bench),
        "client_ingest_bulk" => bulk_by_hand(case, bench),
        _ => return None,
    })
}

/// The same case, captured without a field of the body.
fn without(case: &Value, field: &str) -> Value {
    let mut case = case.clone();
    case["captured"]["payi_requests"][0]["body"].as_object_mut().unwrap().remove(field);
    case
}

fn shutdown(case: &Value, bench: &mut Bench) -> Went {
    let dir = TempDir::new("shutdown");
    let start = || {
        let builder = instrument(&bench.pay_i).ledger(dir.file("l.db")).log_prompt_and_response(true);
        builder.start().unwrap()
    };
    let guard = start();
    let mut replay = Replay::new(case);
    runtime().block_on(replay.run(1));
    drop(guard); // one more attempt, and that fails
    let next = start();
    for _ in 0..4 {
        flush(&next);
    }
    let sent = bench.pay_i.requests();
    compare("the fourth attempt", json!(4), json!(sent.len()), &mut bench.found);
    compare("left", json!(0), json!(next.metrics().deliveries[0].lag), &mut bench.found);
    (0..3).for_each(|n| bench.found.extend(replay.differences(n, &sent[n])));
    Went::Better("what could not be sent before the end is sent by the next process; the SDK loses it")
}

fn offline(case: &Value, bench: &mut Bench) -> Went {
    let dir = TempDir::new("offline");
    let builder = payi::instrument().in_memory().use_case_name("").log_prompt_and_response(true);
    let guard = builder.offline(dir.file("o.json")).start().unwrap();
    let mut replay = Replay::new(case);
    runtime().block_on(replay.run(1));
    drop(guard);
    let written: Value = serde_json::from_str(&std::fs::read_to_string(dir.file("o.json")).unwrap()).unwrap();
    let host = replay.provider.url().trim_start_matches("http://");
    compare("events", json!(1), json!(written.as_array().unwrap().len()), &mut bench.found);
    bodies(&case["captured"]["offline_file"][0], &written[0], host, &mut bench.found);
    Went::Same
}

fn event(fields: &Value) -> payi::pay_i::Ingest {
    let text = |key: &str| fields[key].as_str().map(str::to_owned);
    let list = |key: &str| -> Option<Vec<String>> {
        Some(fields[key].as_array()?.iter().map(|item| item.as_str().unwrap().to_owned()).collect())
    };
    let context = payi::context()
        .user_id(text("user_id"))
        .account_name(text("account_name"))
        .use_case_name(text("use_case_name"))
        .use_case_id(text("use_case_id"))
        .use_case_version(fields["use_case_version"].as_u64().map(|v| u32::try_from(v).unwrap()))
        .use_case_step(text("use_case_step"))
        .limit_ids(list("limit_ids"))
        .request_tags(list("request_tags"))
        .request_properties(fields["properties"].as_object().cloned())
        .resource_scope(text("resource_scope").or(text("scope")))
        .build();
    let mut event =
        payi::pay_i::Ingest::new(text("category").unwrap(), text("resource").unwrap()).context(&context);
    for (name, unit) in fields["units"].as_object().unwrap() {
        event = event.units(name, unit["input"].as_u64().unwrap(), unit["output"].as_u64().unwrap());
    }
    event
}

fn by_hand(case: &Value, bench: &mut Bench) -> Went {
    let fields = &case["steps"][0]["kwargs"];
    let event = event(fields)
        .event_timestamp(fields["event_timestamp"].as_str().unwrap())
        .time_to_first_completion_token(Duration::from_millis(5))
        .disable_logging(true);
    let client = payi::pay_i::Client::new(bench.pay_i.url(), "payi-test-key").unwrap();
    let said = runtime().block_on(client.ingest(&event)).unwrap();
    compare("request id", json!("req_payi"), json!(said.request_id), &mut bench.found);
    compare("cost", json!("0.003"), json!(said.cost.unwrap().to_string()), &mut bench.found);
    let mut sent = bench.pay_i.requests().remove(0);
    compare("tags", json!("t1"), json!(sent.header("xProxy-Request-Tags")), &mut bench.found);
    sent.headers.retain(|(name, _)| name != "xproxy-request-tags");
    let replay = Replay::new(case);
    bench.same(&replay, 0, &sent);
    Went::Better("request_tags arrive; the SDK drops them")
}

fn bulk_by_hand(case: &Value, bench: &mut Bench) -> Went {
    let event = event(&case["steps"][0]["kwargs"]["events"][0]);
    let client = payi::pay_i::Client::new(bench.pay_i.url(), "payi-test-key").unwrap();
    let bulk = runtime().block_on(client.ingest_bulk(&[event])).unwrap();
    compare("refused", json!([[0, "c"]]), json!(bulk.refused), &mut bench.found);
    let sent = bench.pay_i.requests().remove(0);
    let captured = &case["captured"]["payi_requests"][0];
    compare("path", captured["path"].clone(), json!(sent.path), &mut bench.found);
    bodies(&captured["body"][0], &sent.body[0], "", &mut bench.found);
    Went::Same
}

#[test]
fn what_the_sdk_does_is_done_and_what_it_should_do_too() {
    alone("conformance_delivery::what_the_sdk_does_is_done_and_what_it_should_do_too", || {
        let Some(cases) = cases() else { return };
        let mut tally = Tally::default();
        for case in cases.iter().filter(|case| is_ours(case["name"].as_str().unwrap())) {
            let (went, found) = run(case);
            tally.add(case["name"].as_str().unwrap(), &went, &found);
        }
        tally.report("conformance-delivery");
    });
}
