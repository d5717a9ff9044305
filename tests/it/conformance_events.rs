//! Each provider's event, as the official SDK was seen to send it, sent by us: the same request to Pay-i, and
//! where the SDK is wrong, the one that it should have sent.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use payi::{
    events::ModelMapping,
    testing::{PayI, estimates_by_vocabulary},
};
use serde_json::{Value, json};

use crate::{
    payi::{Replay, Tally, Went, cases, compare, instrument, runtime},
    support::alone,
};

const FAMILIES: &[&str] = &[
    "chat_",
    "responses_",
    "embeddings_",
    "anthropic_",
    "genai_",
    "bedrock_",
    "azure_",
    "host_",
    "openai_model_",
    "price_",
];

/// Whether a case is about a provider's event. One is about having no instrumentation, and sends none.
fn is_ours(name: &str) -> bool {
    FAMILIES.iter().any(|family| name.starts_with(family)) && name != "chat_no_global_context"
}

const TOKENS: &str = "pictures count as text, as the provider counts them and bills them; the SDK guesses a split, by a \
                      vocabulary that it downloads during the call";

/// What the SDK should have sent, and why; `None` where it is right.
fn better(name: &str, case: &mut Value, all: &[Value]) -> Option<&'static str> {
    let of = |name: &str| all.iter().find(|case| case["name"] == name).unwrap()["captured"].clone();
    let captured = &mut case["captured"];
    if let Some(why) = where_nothing_was_sent(name, captured, &of) {
        return Some(why);
    }
    let sent = &mut captured["payi_requests"][0]["body"];
    Some(match name {
        "chat_vision" => {
            sent["units"] = json!({"text": {"input": 110, "output": 5}});
            let request = sent["provider_request_json"].as_str().unwrap();
            sent["provider_request_json"] =
                request.replace("data:image/png;base64,AAAA", "<not_instrumented>").into();
            TOKENS
        }
        "chat_vision_cached" => {
            sent["units"] = json!({
                "text": {"input": 10, "output": 5}, "text_cache_read": {"input": 100, "output": 0},
            });
            TOKENS
        }
        "responses_vision_inline_kept" => {
            sent["units"]["text"] = json!({"input": 12, "output": 8});
            sent["units"].as_object_mut().unwrap().remove("vision");
            TOKENS
        }
        "chat_stream_no_usage" => {
            // "hello" by the vocabulary, or by its length: this test is built with and without one.
            let output = if estimates_by_vocabulary() { 1 } else { 2 };
            sent["units"] = json!({"text": {"input": 7, "output": output}});
            "usage that the provider never tells is estimated; the SDK sends none"
        }
        "chat_tool_calls_ignored" => {
            sent["provider_response_function_calls"] = json!([{"name": "f", "arguments": "{}"}]);
            "tool_calls are function calls; the SDK knows only their predecessor"
        }
        "chat_stream_usage_false" => {
            let request = sent["provider_request_json"].as_str().unwrap();
            sent["provider_request_json"] =
                request.replace("\"include_usage\":true", "\"include_usage\":false").into();
            captured["calls"][0]["chunks_delivered_to_caller"] = json!(4);
            "a caller who wants no usage is obeyed; the SDK overrides it, and hides what comes"
        }
        "genai_no_details" => {
            sent["units"]["text"]["output"] = json!(9);
            "tokens are tokens; the SDK takes four for one"
        }
        "genai_stream_usage_every_chunk" => {
            sent["units"]["text"]["output"] = json!(50);
            "the last of counts that grow is the sum; the SDK sends the first"
        }
        "genai_error_429" => {
            sent["http_status_code"] = json!(429);
            sent["properties"] = json!({});
            sent["provider_response_json"] = json!("");
            "the provider's own status and answer; the SDK sends 299 and the text of its exception"
        }
        "bedrock_converse" => {
            // By their total, the tokens of the cache are among the input's.
            sent["units"]["text"]["input"] = json!(4);
            sent["units"]["text_cache_read"] = json!({"input": 5, "output": 0});
            sent["units"]["text_cache_write"] = json!({"input": 3, "output": 0});
            "tokens of the cache are counted, each once; the SDK leaves them out"
        }
        "genai_char_billing_15" => {
            sent["units"] = json!({"audio": {"input": 30}, "text": {"output": 9}});
            "tokens, and no more of them than their sum: the models that were billed by the character are gone"
        }
        "anthropic_stream_manager" => {
            sent["provider_response_headers"] = json!([]);
            "headers of answers are sent for every call; the SDK forgets them for this one"
        }
        "bedrock_invoke_anthropic" => {
            sent["provider_uri"] = json!("http://PROVIDER");
            "the provider's address is told; the SDK leaves it out"
        }
        _ => return None,
    })
}

/// The same for what the SDK did not send, or sent as its own failure.
fn where_nothing_was_sent(
    name: &str,
    captured: &mut Value,
    of: &impl Fn(&str) -> Value,
) -> Option<&'static str> {
    Some(match name {
        "chat_stream_abandoned" => {
            let mut event = of("chat_stream_usage_added")["payi_requests"][0].clone();
            event["body"]["units"] = json!({"text": {"input": 7, "output": 1}});
            event["body"]["properties"] = json!({"payi.outcome": "aborted"});
            captured["payi_requests"] = json!([event]);
            "a stream that the caller leaves is reported, as aborted, and estimated; the SDK sends nothing"
        }
        "anthropic_cache_null" => {
            captured["payi_requests"] = of("anthropic_plain")["payi_requests"].clone();
            "a count of null is none; the SDK raises out of the caller's call"
        }
        "anthropic_stream_manager_async" => {
            *captured = of("anthropic_stream_manager");
            captured["payi_requests"][0]["body"]["provider_response_headers"] = json!([]);
            "it works; the SDK's own is broken"
        }
        _ => return None,
    })
}

/// payi with the settings of a case.
fn with_settings(case: &Value, pay_i: &PayI) -> payi::Builder {
    let config = &case["instrument"]["config"];
    let mut builder = instrument(pay_i).log_prompt_and_response(true);
    builder = builder.instrument_inline_data(config["instrument_inline_data"] == true);
    for (host, mapping) in config["host_mappings"].as_object().into_iter().flatten() {
        builder = builder.host_mapping(host, mapping["price_as_category"].as_str().unwrap());
    }
    for provider in ["openai_config", "azure_openai_config"] {
        for given in config[provider]["model_mappings"].as_array().into_iter().flatten() {
            let text = |key: &str| given[key].as_str();
            let mut mapping = ModelMapping::new(text("model").unwrap());
            mapping = text("host").map_or(mapping.clone(), |host| mapping.host(host));
            mapping = text("price_as_category").map_or(mapping.clone(), |it| mapping.price_as_category(it));
            mapping = text("price_as_resource").map_or(mapping.clone(), |it| mapping.price_as_resource(it));
            mapping = text("resource_scope").map_or(mapping.clone(), |it| mapping.resource_scope(it));
            builder = builder.model_mapping(mapping);
        }
    }
    builder
}

fn run(name: &str, case: &Value, all: &[Value]) -> (Went, Vec<String>) {
    let mut case = case.clone();
    let went = match better(name, &mut case, all) {
        Some(why) => Went::Better(why),
        None => Went::Same,
    };
    let pay_i = PayI::start().unwrap();
    let guard = with_settings(&case, &pay_i).start().unwrap();
    let mut replay = Replay::new(&case);
    runtime().block_on(replay.run(1));
    assert!(runtime().block_on(guard.flush(Duration::from_secs(10))).is_ok(), "{name}");
    let (mut found, sent) = (Vec::new(), pay_i.requests());
    compare("requests", json!(1), json!(sent.len()), &mut found);
    found.extend(sent.first().map(|sent| replay.differences(0, sent)).unwrap_or_default());
    let delivered = &case["captured"]["calls"][0]["chunks_delivered_to_caller"];
    let counted = ["openai.chat", "genai.stream"].iter().any(|call| case["steps"][0]["provider"] == *call);
    if delivered.is_u64() && counted {
        compare("chunks", delivered.clone(), json!(replay.delivered), &mut found);
    }
    (went, found)
}

#[test]
fn each_providers_event_is_as_the_sdk_sends_it_or_as_it_should_have() {
    alone("conformance_events::each_providers_event_is_as_the_sdk_sends_it_or_as_it_should_have", || {
        let Some(cases) = cases() else { return };
        let mut tally = Tally::default();
        for case in cases.iter().filter(|case| is_ours(case["name"].as_str().unwrap())) {
            let name = case["name"].as_str().unwrap();
            let (went, found) = run(name, case, &cases);
            tally.add(name, &went, &found);
        }
        tally.report("conformance-events");
    });
}
