//! What Pay-i is sent, against what the official SDK sends it, field by field.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeSet, time::Duration};

use payi::testing::{Answer, PayI, PayIRequest, Provider};
use serde_json::{Map, Value, json};

use crate::support::{alone, shared};

/// Fields that are ours on purpose.
const DIFFERENT: &[&str] = &[
    "no X-Stainless-* headers",
    "User-Agent",
    "xProxy-Instrumented-Module names our client",
    "no system.stack_trace",
    "provider_response_json is the answer as it was sent, not as an SDK models it",
];

/// The cases of the official SDK; `None`, loudly, where they are missing.
pub(crate) fn cases() -> Option<Vec<Value>> {
    let text = std::fs::read_to_string(shared("spec/conformance.json")?).unwrap();
    let mut cases: Value = serde_json::from_str(&text).unwrap();
    Some(cases["cases"].take().as_array().unwrap().clone())
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// payi as the cases want it: nothing of its own, a ledger each (the cases repeat their response ids).
pub(crate) fn instrument(pay_i: &PayI) -> payi::Builder {
    let builder = payi::instrument().in_memory().api_key("payi-test-key").base_url(pay_i.url());
    builder.use_case_name("").stream_usage_host("127.0.0.1")
}

/// A case, and the provider that plays its answers.
pub(crate) struct Replay<'c> {
    pub(crate) case: &'c Value,
    pub(crate) provider: Provider,
    pub(crate) receipts: Vec<payi::Receipt>,
    /// How many events of a stream the caller has got, the mark of its end left out.
    pub(crate) delivered: usize,
}

/// An answer as a case describes it.
fn played(answer: &Value) -> Answer {
    let made = if let Some(events) = answer["sse"].as_array() {
        let text = |event: &Value| match event.as_str() {
            Some(mark) => format!("data: {mark}\n\n"),
            None => match event["event"].as_str() {
                Some(name) => format!("event: {name}\ndata: {}\n\n", event["data"]),
                None => format!("data: {}\n\n", event["data"]),
            },
        };
        Answer::sse(events.iter().map(text).collect::<String>())
    } else if let Some(events) = answer["eventstream"].as_array() {
        let frames =
            events.iter().flat_map(|event| frame(event["type"].as_str().unwrap(), &event["payload"]));
        Answer::bytes("application/vnd.amazon.eventstream", frames.collect::<Vec<u8>>())
    } else {
        Answer::json(answer["json"].to_string())
    };
    let mut made = made.same_id().status(u16::try_from(answer["status"].as_u64().unwrap_or(200)).unwrap());
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        made = made.header(name, value.as_str().unwrap());
    }
    made
}

/// One event of AWS' streams, without its check sums.
fn frame(kind: &str, payload: &Value) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in
        [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")]
    {
        headers.push(u8::try_from(name.len()).unwrap());
        headers.extend_from_slice(name.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let payload = payload.to_string();
    let whole = 16 + headers.len() + payload.len();
    let number = |n: usize| u32::try_from(n).unwrap().to_be_bytes();
    [&number(whole)[..], &number(headers.len()), &[0; 4], &headers, payload.as_bytes(), &[0; 4]].concat()
}

impl<'c> Replay<'c> {
    pub(crate) fn new(case: &'c Value) -> Self {
        let provider = Provider::start().unwrap();
        for answer in case["provider"].as_array().unwrap() {
            provider.next(played(answer));
        }
        Self { case, provider, receipts: Vec::new(), delivered: 0 }
    }

    /// Runs the steps; a call is made `times` times.
    pub(crate) async fn run(&mut self, times: usize) {
        for step in self.case["steps"].as_array().unwrap() {
            match step["op"].as_str() {
                Some("track_context") => {
                    let call = step["body"].as_array().unwrap().iter().find(|s| s["op"] == "call").unwrap();
                    for _ in 0..times {
                        let (receipt, delivered) = scoped(&step["args"], self.call(call)).await;
                        self.receipts.push(receipt);
                        self.delivered = delivered;
                    }
                }
                Some("call") => {
                    for _ in 0..times {
                        let (receipt, delivered) = self.call(step).await;
                        self.receipts.push(receipt);
                        self.delivered = delivered;
                    }
                }
                _ => {}
            }
        }
    }

    async fn call(&self, step: &Value) -> (payi::Receipt, usize) {
        let sent = &self.case["captured"]["provider_requests"][0];
        let path = sent["path"].as_str().unwrap_or("/v1/chat/completions");
        let mut request = payi::reqwest::Client::new()
            .post(format!("{}{path}", self.provider.url()))
            .header("content-type", "application/json");
        for (name, value) in step["kwargs"]["extra_headers"].as_object().into_iter().flatten() {
            request = request.header(name, value.as_str().unwrap());
        }
        let mut answer = request.body(self.body(step)).send().await.unwrap();
        let receipt = payi::receipt(&answer).unwrap();
        if step["abandon_after"].is_u64() {
            answer.chunk().await.unwrap();
            return (receipt, 1);
        }
        let text = answer.bytes().await.unwrap();
        let text = String::from_utf8_lossy(&text);
        let events = text.lines().filter(|line| line.starts_with("data: ") && !line.ends_with("[DONE]"));
        (receipt, events.count())
    }

    /// The body as the caller wrote it.
    fn body(&self, step: &Value) -> String {
        let captured = &self.case["captured"];
        let sent = &captured["provider_requests"][0]["body"];
        let kwargs = &step["kwargs"];
        if kwargs["stream"] == true && step["provider"] == "openai.chat" {
            // What was captured asks for the usage already.
            return kwargs.to_string();
        }
        if is_named_by_path(self.case) {
            return sent.to_string();
        }
        // What the SDK reports is in the order it was written; what it sent has lost it.
        let events = [&captured["payi_requests"][0]["body"], &captured["offline_file"][0]];
        let reported = events.iter().find_map(|event| event["provider_request_json"].as_str());
        match (reported, sent) {
            (Some(reported), _) if !reported.contains("not_instrumented") => reported.to_owned(),
            (_, Value::Null) => json!({"model": "gpt-4o", "messages": kwargs["messages"]}).to_string(),
            (_, body) => body.to_string(),
        }
    }

    /// What differs between the `n`th request that was captured and `sent`, other than on purpose.
    pub(crate) fn differences(&self, n: usize, sent: &PayIRequest) -> Vec<String> {
        let host = self.provider.url().trim_start_matches("http://");
        let mut captured = self.case["captured"]["payi_requests"][n].clone();
        if is_named_by_path(self.case) {
            // Those SDKs report their call's arguments, of which one is the model.
            let body = self.case["captured"]["provider_requests"][0]["body"].to_string();
            captured["body"]["provider_request_json"] = body.into();
        }
        let mut found = Vec::new();
        if captured["method"] != sent.method.as_str() {
            found.push(format!("method: {}", sent.method));
        }
        compare("path", made_up(captured["path"].clone()), made_up(json!(sent.path)), &mut found);
        headers(&captured["headers"], sent, &mut found);
        bodies(&captured["body"], &sent.body, host, &mut found);
        found
    }
}

/// Whether the address names the model, and not the body.
fn is_named_by_path(case: &Value) -> bool {
    let path = case["captured"]["provider_requests"][0]["path"].as_str().unwrap_or_default();
    path.starts_with("/model/")
        || path.contains(":generateContent")
        || path.contains(":streamGenerateContent")
}

/// How a case went.
pub(crate) enum Went {
    /// As the SDK does.
    Same,
    /// Not as the SDK does, on purpose.
    Better(&'static str),
}

/// How the cases of one family went.
#[derive(Default)]
pub(crate) struct Tally {
    same: Vec<String>,
    better: Vec<String>,
    wrong: Vec<String>,
}

impl Tally {
    /// Notes one case, with what differs other than on purpose.
    pub(crate) fn add(&mut self, name: &str, went: &Went, found: &[String]) {
        match went {
            _ if !found.is_empty() => self.wrong.push(format!("{name}:\n  {}", found.join("\n  "))),
            Went::Same => self.same.push(name.to_owned()),
            Went::Better(why) => self.better.push(format!("{name} ({why})")),
        }
    }

    /// Fails if any case differs; else says how they went.
    pub(crate) fn report(&self, evidence: &str) {
        assert!(self.wrong.is_empty(), "{} cases differ:\n{}", self.wrong.len(), self.wrong.join("\n"));
        println!("as the SDK does: {}", self.same.join(", "));
        println!("deliberately different:\n  {}", self.better.join("\n  "));
        let (same, better) = (self.same.len(), self.better.len());
        let all = same + better;
        println!(
            "evidence {evidence}: {all} of {all} cases passed: {same} as the SDK does, {better} deliberately different"
        );
    }
}

/// Runs `call` in the scope that a case's arguments describe.
pub(crate) async fn scoped<T>(args: &Value, call: impl Future<Output = T>) -> T {
    let text = |key: &str| args[key].as_str().map(str::to_owned);
    let map = |key: &str| args[key].as_object().cloned();
    let limit_ids: Option<Vec<&str>> =
        args["limit_ids"].as_array().map(|ids| ids.iter().filter_map(Value::as_str).collect());
    let version = args["use_case_version"].as_u64().map(|v| u32::try_from(v).unwrap());
    payi::track_context!(
        user_id = text("user_id"),
        account_name = text("account_name"),
        use_case_name = text("use_case_name"),
        use_case_id = text("use_case_id"),
        use_case_version = version,
        use_case_step = text("use_case_step"),
        limit_ids,
        request_properties = map("request_properties"),
        use_case_properties = map("use_case_properties"),
        price_as_category = text("price_as_category"),
        price_as_resource = text("price_as_resource"),
        resource_scope = text("resource_scope"),
        proxy = args["proxy"].as_bool(),
        log_prompt_and_response = args["log_prompt_and_response"].as_bool(),
        { call.await }
    )
}

#[expect(clippy::needless_pass_by_value, reason = "most are made where they are compared")]
pub(crate) fn compare(what: &str, theirs: Value, ours: Value, found: &mut Vec<String>) {
    if theirs != ours {
        found.push(format!("{what}: {theirs} there, {ours} here"));
    }
}

/// Ids that are made up look alike.
fn made_up(value: Value) -> Value {
    match value.as_str().and_then(|text| text.split_once("payi_")) {
        Some((before, _)) => json!(format!("{before}payi_<uuid>")),
        None => value,
    }
}

fn headers(captured: &Value, sent: &PayIRequest, found: &mut Vec<String>) {
    let interesting = |name: &str| {
        let ours = ["xproxy-instrumented-module", "user-agent"].contains(&name);
        (name.starts_with("xproxy-") || ["accept", "content-type"].contains(&name)) && !ours
    };
    let lower = captured.as_object().unwrap().iter().map(|(n, v)| (n.to_ascii_lowercase(), v.clone()));
    let theirs: Map<_, _> = lower.filter(|(name, _)| interesting(name)).collect();
    let ours = sent.headers.iter().filter(|(name, _)| interesting(name)).map(|(n, v)| (n.clone(), json!(v)));
    compare("headers", theirs.into(), ours.collect::<Map<_, _>>().into(), found);
}

/// Compares two bodies, field by field.
pub(crate) fn bodies(captured: &Value, sent: &Value, provider: &str, found: &mut Vec<String>) {
    let (theirs, ours) = (captured.as_object().unwrap(), sent.as_object().unwrap());
    let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    for key in keys {
        let their = theirs.get(key).cloned().and_then(|value| expected(key, value, provider));
        let our = ours.get(key).cloned().map(|value| actual(key, value));
        compare(key, their.unwrap_or_default(), our.unwrap_or_default(), found);
    }
}

fn expected(key: &str, value: Value, provider: &str) -> Option<Value> {
    match (key, value) {
        ("properties", Value::Object(mut properties)) => {
            properties.remove("system.stack_trace");
            (!properties.is_empty()).then_some(properties.into())
        }
        ("provider_uri", Value::String(uri)) => Some(json!(uri.replace("PROVIDER", provider))),
        ("event_timestamp", Value::String(shape)) => {
            Some(json!(shape.trim_start_matches("<timestamp> e.g. ")))
        }
        (_, value) => Some(actual(key, value)),
    }
}

fn actual(key: &str, value: Value) -> Value {
    match (key, value) {
        (
            "end_to_end_latency_ms" | "time_to_first_token_ms" | "time_to_first_completion_token_ms",
            Value::Number(_),
        ) => json!("<int ms>"),
        // The order of keys and the spaces between them mean nothing.
        ("provider_request_json", Value::String(text)) => {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        }
        ("provider_response_function_calls", Value::Array(calls)) => {
            let read = |mut call: Value| {
                let arguments = call["arguments"].as_str().and_then(|text| serde_json::from_str(text).ok());
                call["arguments"] = arguments.unwrap_or_default();
                call
            };
            calls.into_iter().map(read).collect()
        }
        ("event_timestamp", Value::String(time)) => {
            time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect::<String>().into()
        }
        ("provider_response_id", value) => made_up(value),
        // The order of headers means nothing, and serde_json's objects do not keep it.
        ("provider_response_headers", Value::Array(mut headers)) => {
            headers.sort_by_key(|h| h["name"].to_string());
            headers.into()
        }
        // The same form: one text, or a list of them.
        ("provider_response_json", value) => json!(value.is_array()),
        (_, value) => value,
    }
}

#[test]
fn the_first_four_cases_are_as_the_sdk_sends_them() {
    alone("payi::the_first_four_cases_are_as_the_sdk_sends_them", || {
        let Some(cases) = cases() else { return };
        let pay_i = PayI::start().unwrap();
        let names = ["ctx_full_headers", "chat_plain", "chat_cached_reasoning", "anthropic_plain"];
        for (n, name) in names.iter().enumerate() {
            let case = cases.iter().find(|c| c["name"] == *name).unwrap();
            let guard = instrument(&pay_i).log_prompt_and_response(true).start().unwrap();
            let mut replay = Replay::new(case);
            runtime().block_on(replay.run(1));
            let sent = pay_i.wait_for(n + 1, Duration::from_secs(10)).remove(n);
            let found = replay.differences(0, &sent);
            assert!(found.is_empty(), "{name}:\n{}", found.join("\n"));
            let answered = match &sent.body["provider_response_json"] {
                Value::Array(parts) => parts[0].as_str().unwrap(),
                whole => whole.as_str().unwrap(),
            };
            assert_eq!(serde_json::from_str::<Value>(answered).unwrap(), case["provider"][0]["json"]);
            drop(guard);
        }
        println!(
            "evidence payi-first: {0} of {0} cases equal field by field (deliberately different: {1})",
            names.len(),
            DIFFERENT.join("; ")
        );
    });
}
