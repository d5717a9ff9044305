//! What Pay-i is sent, against what the official SDK sends it, field by field.

use std::time::Duration;

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

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Replays a case: one call, in the scopes it says.
async fn replay(case: &Value, pay_i: &PayI) -> (PayIRequest, String) {
    let provider = Provider::start().unwrap();
    let played = &case["provider"][0];
    let mut answer = Answer::json(played["json"].to_string()).same_id();
    for (name, value) in played["headers"].as_object().into_iter().flatten() {
        answer = answer.header(name, value.as_str().unwrap());
    }
    provider.next(answer);
    let step = &case["steps"][0];
    let captured = &case["captured"]["payi_requests"][0]["body"];
    let body = captured["provider_request_json"].as_str().unwrap().to_owned();
    let path = case["captured"]["provider_requests"][0]["path"].as_str().unwrap();
    let url = format!("{}{path}", provider.url());
    let call = async {
        let answer = payi::reqwest::Client::new()
            .post(url)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap();
        answer.bytes().await.unwrap();
    };
    let before = pay_i.requests().len();
    match step["op"].as_str() {
        Some("track_context") => scoped(&step["args"], call).await,
        _ => call.await,
    }
    let requests = pay_i.wait_for(before + 1, Duration::from_secs(10));
    assert_eq!(requests.len(), before + 1, "{}", case["name"]);
    (requests[before].clone(), provider.url().trim_start_matches("http://").to_owned())
}

async fn scoped(args: &Value, call: impl Future<Output = ()>) {
    let text = |key: &str| args[key].as_str().map(str::to_owned);
    let map = |key: &str| args[key].as_object().cloned().unwrap_or_default();
    let limit_ids: Vec<&str> =
        args["limit_ids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
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
        { call.await }
    );
}

/// Everything that differs between what was captured and what was sent, other than on purpose.
fn differences(captured: &Value, sent: &PayIRequest, provider: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, theirs: &Value, ours: &Value| {
        if theirs != ours {
            found.push(format!("{what}: {theirs} there, {ours} here"));
        }
    };
    compare("method", &captured["method"], &json!(sent.method));
    compare("path", &captured["path"], &json!(sent.path));
    let interesting = |name: &str| {
        let name = name.to_ascii_lowercase();
        let ours = ["xproxy-instrumented-module", "user-agent"].contains(&name.as_str());
        (name.starts_with("xproxy-") || ["accept", "content-type"].contains(&name.as_str())) && !ours
    };
    let headers = captured["headers"].as_object().unwrap();
    let theirs: Map<_, _> = headers
        .iter()
        .filter(|(n, _)| interesting(n))
        .map(|(n, v)| (n.to_ascii_lowercase(), v.clone()))
        .collect();
    let ours: Map<_, _> =
        sent.headers.iter().filter(|(n, _)| interesting(n)).map(|(n, v)| (n.clone(), json!(v))).collect();
    compare("headers", &theirs.into(), &ours.into());

    let theirs = captured["body"].as_object().unwrap();
    let ours = sent.body.as_object().unwrap();
    let keys: std::collections::BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    for key in keys {
        let (mut their, mut our) = (theirs.get(key).cloned(), ours.get(key).cloned());
        match key.as_str() {
            "end_to_end_latency_ms" => our = our.filter(Value::is_u64).and(their.clone()),
            "event_timestamp" => {
                let shape: String = our
                    .as_ref()
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .chars()
                    .map(|c| if c.is_ascii_digit() { '9' } else { c })
                    .collect();
                our = Some(json!(format!("<timestamp> e.g. {shape}")));
            }
            "properties" => {
                if let Some(Value::Object(properties)) = &mut their {
                    properties.remove("system.stack_trace");
                }
                their = their.filter(|p| p.as_object().is_some_and(|p| !p.is_empty()));
            }
            "provider_uri" => {
                their = their.map(|uri| json!(uri.as_str().unwrap().replace("PROVIDER", provider)))
            }
            // The order of headers means nothing, and serde_json's objects do not keep it.
            "provider_response_headers" => {
                for list in [&mut their, &mut our].into_iter().flatten() {
                    if let Value::Array(headers) = list {
                        headers.sort_by_key(|h| h["name"].to_string());
                    }
                }
            }
            // The same form (one text or a list of them), and the answer in it.
            "provider_response_json" => {
                their = their.map(|v| json!(v.is_array()));
                our = our.map(|v| json!(v.is_array()));
            }
            _ => {}
        }
        compare(key, &their.unwrap_or_default(), &our.unwrap_or_default());
    }
    found
}

#[test]
fn the_first_four_cases_are_as_the_sdk_sends_them() {
    alone("payi::the_first_four_cases_are_as_the_sdk_sends_them", || {
        let Some(path) = shared("spec/conformance.json") else { return };
        let cases: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let pay_i = PayI::start().unwrap();
        let names = ["ctx_full_headers", "chat_plain", "chat_cached_reasoning", "anthropic_plain"];
        let mut equal = 0;
        for name in names {
            // A ledger each: the cases repeat their response ids.
            let guard = payi::instrument()
                .in_memory()
                .api_key("payi-test-key")
                .base_url(pay_i.url())
                .use_case_name("")
                .log_prompt_and_response(true)
                .start()
                .unwrap();
            let case = cases["cases"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap();
            let (sent, provider) = runtime().block_on(replay(case, &pay_i));
            let found = differences(&case["captured"]["payi_requests"][0], &sent, &provider);
            assert!(found.is_empty(), "{name}:\n{}", found.join("\n"));
            let answered: Value = serde_json::from_str(match &sent.body["provider_response_json"] {
                Value::Array(parts) => parts[0].as_str().unwrap(),
                whole => whole.as_str().unwrap(),
            })
            .unwrap();
            assert_eq!(answered, case["provider"][0]["json"]);
            drop(guard);
            equal += 1;
        }
        println!(
            "evidence payi-first: {equal} of {} cases equal field by field (deliberately different: {})",
            names.len(),
            DIFFERENT.join("; ")
        );
    });
}
