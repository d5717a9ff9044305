//! What the caller sees is what reqwest alone would show.

use std::time::Duration;

use payi::{
    events::Outcome,
    pricing::CostSource,
    reqwest::{StatusCode, header},
    testing::Answer,
    usage::Bucket,
};

use super::{ASK, Bench};

#[tokio::test]
async fn a_call_is_recorded_with_what_it_used_and_cost() {
    let bench = Bench::new();
    let text = bench.recorder.scope(bench.chat(ASK)).await.expect("an answer");
    assert!(text.contains("measure first"));
    let event = bench.event();
    assert_eq!((event.outcome, event.http_status, event.attempt), (Outcome::Ok, Some(200), 1));
    assert_eq!(
        (&*event.provider, &*event.operation, &*event.category),
        ("openai", "chat.completions", "system.openai")
    );
    assert_eq!(event.request_model.as_deref(), Some("gpt-4o-mini"));
    assert_eq!(event.usage.get(Bucket::CacheRead), 1024);
    assert_eq!((event.usage.input_tokens(), event.usage.output_tokens()), (1200, 350));
    // 176 at 0.15, 1,024 at 0.075 and 350 at 0.60 dollars a million.
    assert_eq!(event.cost.source, CostSource::Computed);
    assert_eq!(event.cost.amount.to_string(), "0.0003132");
    assert!(
        event.response_id.as_deref().is_some_and(|id| id.starts_with("chatcmpl-") && id != "chatcmpl-payi1")
    );
    assert!(event.error.is_none() && !event.streamed && event.exchange.is_none());
    assert_eq!(event.call_id, event.id);
}

#[tokio::test]
async fn without_an_instrumentation_calls_pass_through_untouched() {
    let bench = Bench::new();
    let answer =
        bench.http.post(bench.url("/v1/chat/completions")).json(&serde_json::json!({"model": "m"})).send();
    let answer = answer.await.expect("an answer");
    assert!(payi::receipt(&answer).is_none());
    assert_eq!(answer.content_length(), Some(answer.text().await.expect("a body").len() as u64));
    let asked = &bench.provider.requests()[0];
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.body, br#"{"model":"m"}"#);
}

#[tokio::test]
async fn head_body_and_address_are_those_of_the_answer() {
    let bench = Bench::new();
    bench.provider.next(Answer::json(r#"{"id":"x"}"#).status(201).header("x-request-id", "req_1").same_id());
    let url = bench.url("/v1/chat/completions?a=1");
    let answer = bench
        .recorder
        .scope(async { bench.http.post(&url).body(ASK).send().await })
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.url().as_str(), url);
    assert_eq!(answer.headers()["x-request-id"], "req_1");
    assert_eq!(
        (answer.content_length(), &answer.headers()[header::CONTENT_LENGTH]),
        (Some(10), &"10".parse().expect("a value"))
    );
    assert!(answer.remote_addr().is_some_and(|addr| addr.ip().is_loopback()));
    assert_eq!(answer.text().await.expect("a body"), r#"{"id":"x"}"#);
    assert_eq!(bench.event().http_status, Some(201));
}

#[tokio::test]
async fn time_limits_hold_for_the_body_too_and_name_the_failure() {
    let bench = Bench::new();
    let slow =
        Answer::json(r#"{"id":"a","usage":{"prompt_tokens":1}}"#).pieces(10).pause(Duration::from_secs(5));
    bench.provider.next(slow);
    let call = async {
        let answer =
            bench.http.post(bench.url("/v1/responses")).body(ASK).timeout(Duration::from_millis(200)).send();
        answer.await.expect("the head").text().await.expect_err("too slow")
    };
    let error = bench.recorder.scope(call).await;
    assert!(error.is_timeout());
    let event = bench.event();
    assert_eq!((event.outcome, event.error.as_deref()), (Outcome::Failed, Some("timeout")));
    assert_eq!((event.http_status, event.cost.source), (Some(200), CostSource::Unpriced));
}

#[tokio::test]
async fn refusals_and_failures_to_connect_cost_nothing_and_keep_reqwests_error() {
    let bench = Bench::new();
    bench.provider.next(
        Answer::json(r#"{"error":{"message":"alice!","type":"requests","code":"rate_limit_exceeded"}}"#)
            .status(429),
    );
    bench.recorder.scope(bench.chat(ASK)).await.expect("an answer");
    let event = bench.event();
    assert_eq!((event.outcome, event.http_status), (Outcome::Failed, Some(429)));
    assert_eq!(event.error.as_deref(), Some("rate_limit_exceeded"));
    assert_eq!((event.cost.source, event.cost.amount.pico()), (CostSource::Computed, 0));

    let nobody = async { bench.http.post("http://127.0.0.1:1/v1/messages").body(ASK).send().await };
    let nobody = bench.recorder.scope(nobody).await;
    let error = nobody.expect_err("nobody listens");
    assert!(error.is_connect() && error.as_reqwest().is_some() && !error.is_limit());
    let event = bench.event();
    assert_eq!(
        (event.outcome, event.http_status, event.error.as_deref()),
        (Outcome::Failed, None, Some("connect"))
    );
    assert_eq!((&*event.provider, event.cost.source), ("anthropic", CostSource::Computed));
}

#[tokio::test]
async fn an_endpoint_nobody_knows_is_recorded_all_the_same() {
    let bench = Bench::new();
    bench.provider.next(Answer::bytes("application/octet-stream", vec![0_u8; 4096]));
    let call = async {
        bench.http.post(bench.url("/paint")).body("p").send().await.expect("an answer").bytes().await
    };
    assert_eq!(bench.recorder.scope(call).await.expect("a body").len(), 4096);
    let event = bench.event();
    assert_eq!((&*event.provider, &*event.operation, event.outcome), ("127.0.0.1", "/paint", Outcome::Ok));
    assert_eq!(event.cost.source, CostSource::Unpriced);
}

#[tokio::test]
async fn prompts_and_answers_are_kept_only_where_asked_for_and_never_a_key() {
    let bench = Bench::new();
    bench.provider.on(
        "/chat/completions",
        Answer::json(r#"{"id":"c-1","model":"m"}"#).header("set-cookie", "s=1").header("x-request-id", "r"),
    );
    let call =
        || bench.http.post(bench.url("/v1/chat/completions")).bearer_auth("sk-secret").body(ASK).send();
    bench.recorder.scope(async { call().await.expect("an answer").text().await }).await.expect("a body");
    assert_eq!(bench.event().exchange, None);
    let asked = payi::context().log_prompt_and_response(true);
    let kept = bench
        .recorder
        .scope(async { asked.scope(async { call().await.expect("an answer").text().await }).await });
    kept.await.expect("a body");
    let exchange = bench.event().exchange.expect("kept");
    assert_eq!(exchange.request_json.as_deref(), Some(ASK));
    assert!(exchange.response_json[0].starts_with(r#"{"id":"c-"#));
    assert_eq!(exchange.response_headers, [("x-request-id".into(), "r".into())]);
    assert_eq!(exchange.provider_uri.as_deref(), Some(&*format!("{}/v1/", bench.provider.url())));
    assert!(!format!("{exchange:?}").contains("secret"));
}

#[tokio::test]
async fn a_model_of_ones_own_name_is_priced_as_the_scope_says() {
    let bench = Bench::new();
    let ask = r#"{"model":"our-own-deployment","messages":[]}"#;
    bench.recorder.scope(bench.chat(ask)).await.expect("an answer");
    assert_eq!(bench.event().cost.source, CostSource::Unpriced);
    for (category, cost) in [(None, "0.0003132"), (Some("system.azureopenai"), "0.0003132")] {
        let call = async {
            let scope = payi::context().price_as_resource("gpt-4o-mini").price_as_category(category);
            scope.scope(bench.chat(ask)).await
        };
        bench.recorder.scope(call).await.expect("an answer");
        let event = bench.event();
        assert_eq!((event.cost.source, event.cost.amount.to_string().as_str()), (CostSource::Computed, cost));
        assert_eq!(event.response_model.as_deref(), Some("our-own-deployment"));
    }
    let nonsense = async { payi::context().price_as_resource("no such model").scope(bench.chat(ASK)).await };
    bench.recorder.scope(nonsense).await.expect("an answer");
    assert_eq!(bench.event().cost.source, CostSource::Unpriced);
}

#[test]
fn the_future_of_a_call_has_room_for_little_besides_reqwests_own() {
    let tracked = payi::reqwest::Client::new();
    let plain = tracked.as_reqwest();
    let url = "http://localhost/v1/chat/completions";
    let (ours, theirs) = (size_of_val(&tracked.post(url).send()), size_of_val(&plain.post(url).send()));
    // The request is in there until the first poll, which is when the attempt begins: that is most of it.
    let request = size_of::<reqwest::Client>() + size_of::<reqwest::Request>();
    assert!(ours <= theirs + request + 64, "{ours} bytes beside {theirs} and {request}");
}
