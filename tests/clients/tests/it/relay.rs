//! Clients that take an address and a plain reqwest client, through `payi::relay::Relay`.

use anthropic_ai_sdk::{
    client::AnthropicClient,
    types::message::{
        CreateMessageParams, Message, MessageClient, MessageError, RequiredMessageParams, Role,
    },
};
use futures::StreamExt;
use gemini_rust::{Gemini, GeminiBuilder};
use ollama_rs::{
    Ollama,
    generation::chat::{ChatMessage, request::ChatMessageRequest},
};
use payi::{
    events::Outcome,
    relay::Relay,
    testing::{Answer, Recorder},
};
use serde_json::json;

use crate::bench::Bench;

fn relay(bench: &Bench) -> Relay {
    Relay::to(bench.provider.url()).unwrap()
}

fn http(relay: &Relay) -> reqwest012::ClientBuilder {
    reqwest012::Client::builder().cookie_provider(relay.cookies())
}

#[tokio::test]
async fn everybody_is_seen_by_ollama_rs() {
    let bench = Bench::new();
    let relay = relay(&bench);
    let ollama = Ollama::builder().url(relay.url()).reqwest_client(http(&relay).build().unwrap()).build();
    bench
        .everybody("ollama-rs 0.3 (relay)", |n, stream| {
            let ollama = ollama.clone();
            let hello = vec![ChatMessage::user("Hello".to_owned())];
            let request = ChatMessageRequest::new(format!("llama3.2-{n}"), hello);
            async move {
                if stream {
                    let mut pieces = ollama.send_chat_messages_stream(request).await.unwrap();
                    while let Some(piece) = pieces.next().await {
                        piece.unwrap();
                    }
                } else {
                    ollama.send_chat_messages(request).await.unwrap();
                }
            }
        })
        .await;
}

fn anthropic(relay: &Relay) -> AnthropicClient {
    AnthropicClient::builder("sk-test", AnthropicClient::DEFAULT_API_VERSION)
        .with_api_base_url(format!("{}/v1", relay.url()))
        .with_http_client(http(relay).build().unwrap())
        .build::<MessageError>()
        .unwrap()
}

fn hello(model: &str) -> CreateMessageParams {
    CreateMessageParams::new(RequiredMessageParams {
        model: model.to_owned(),
        messages: vec![Message::new_text(Role::User, "Hello")],
        max_tokens: 1024,
    })
}

#[tokio::test]
async fn everybody_is_seen_by_anthropic_ai_sdk() {
    let bench = Bench::new();
    let relay = relay(&bench);
    let client = anthropic(&relay);
    bench
        .everybody("anthropic-ai-sdk 0.2 (relay)", |n, stream| {
            let (client, request) = (client.clone(), hello(&format!("claude-sonnet-4-5-{n}")));
            async move {
                if stream {
                    let request = request.with_stream(true);
                    let mut events = client.create_message_streaming(&request).await.unwrap();
                    while let Some(event) = events.next().await {
                        event.unwrap();
                    }
                } else {
                    client.create_message(Some(&request)).await.unwrap();
                }
            }
        })
        .await;
    let seen = &bench.provider.requests()[0];
    assert_eq!((seen.header("x-api-key"), seen.header("cookie")), (Some("sk-test"), None));
}

#[tokio::test]
async fn everybody_is_seen_by_gemini_rust() {
    let bench = Bench::new();
    let relay = relay(&bench);
    let base: url::Url = format!("{}/v1beta/", relay.url()).parse().unwrap();
    let gemini = |n: usize| -> Gemini {
        GeminiBuilder::new("key")
            .with_model(format!("models/gemini-2.5-flash-{n}"))
            .with_base_url(base.clone())
            .with_http_client(http(&relay))
            .build()
            .unwrap()
    };
    bench
        .everybody("gemini-rust 2 (relay)", |n, stream| {
            let gemini = gemini(n);
            async move {
                #[expect(deprecated, reason = "most programs have not moved to interactions")]
                let request = gemini.generate_content().with_user_message("Hello");
                if stream {
                    let mut pieces = request.execute_stream().await.unwrap();
                    while let Some(piece) = pieces.next().await {
                        piece.unwrap();
                    }
                } else {
                    request.execute().await.unwrap();
                }
            }
        })
        .await;
}

#[tokio::test]
async fn an_address_or_the_relays_own_scope_says_whom_a_call_is_for_where_nothing_else_can() {
    let bench = Bench::new();
    let relay = bench.of("owner", async { relay(&bench) }).await;
    let ada = bench.of("ada", async { relay.url_for(&payi::current()) }).await;
    let plain = reqwest012::Client::new();
    for (address, user) in [(ada.clone(), "ada"), (ada, "ada"), (relay.url(), "owner")] {
        let body = json!({"model": "claude-sonnet-4-5", "messages": []}).to_string();
        let answer = plain.post(format!("{address}/v1/messages?beta=true")).body(body).send().await.unwrap();
        assert!(answer.content_length().is_some());
        answer.bytes().await.unwrap();
        let event = bench.event().await;
        assert_eq!(event.context.resolve().user_id.as_deref(), Some(user));
    }
    assert!(bench.provider.requests().iter().all(|asked| asked.path == "/v1/messages?beta=true"));
}

#[tokio::test]
async fn a_stream_dropped_early_is_aborted_and_a_refusal_stays_a_refusal() {
    let bench = Bench::new();
    let relay = relay(&bench);
    let client = anthropic(&relay);
    let sample = include_str!("../../../../payi-core/src/testing/answers/messages_stream.json");
    bench.provider.next(Answer::sample(sample).unwrap().pause(std::time::Duration::from_millis(100)));
    let dropped = async {
        let request = hello("claude-sonnet-4-5").with_stream(true);
        let mut events = client.create_message_streaming(&request).await.unwrap();
        events.next().await.unwrap().unwrap();
    };
    bench.of("ada", dropped).await;
    let event = bench.event().await;
    assert_eq!(event.outcome, Outcome::Aborted);
    assert_eq!(event.context.resolve().user_id.as_deref(), Some("ada"));
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    bench.provider.next(Answer::json(overloaded).status(529));
    let error = bench.of("ada", async { client.create_message(Some(&hello("m"))).await }).await.unwrap_err();
    assert!(error.to_string().contains("Overloaded"), "{error}");
    let event = bench.event().await;
    assert_eq!((event.http_status, event.error.as_deref()), (Some(529), Some("overloaded_error")));
}

#[tokio::test]
async fn nobody_at_home_and_a_call_that_may_not_be_made_are_told_as_such() {
    let bench = Bench::new();
    let nobody = bench.of("ada", async { Relay::to("http://127.0.0.1:1").unwrap() }).await;
    let plain = reqwest012::Client::new();
    let answer = plain.post(format!("{}/v1/messages", nobody.url())).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert_eq!(bench.event().await.error.as_deref(), Some("connect"));
    let strict = Recorder::new().require([payi::Key::UserId]);
    let relay = strict.run(|| relay(&bench));
    let answer = plain.post(format!("{}/v1/messages", relay.url())).body("{}").send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["x-payi-refused"].to_str().unwrap()),
        (403, "unattributed")
    );
    assert!(answer.text().await.unwrap().contains("payi_refused"));
    assert!(bench.provider.requests().is_empty());
}

#[tokio::test]
async fn a_tracked_client_pointed_at_a_relay_is_counted_once_and_for_its_user() {
    let bench = Bench::new();
    let relay = bench.of("owner", async { relay(&bench) }).await;
    let http = payi::reqwest::Client::new();
    let call = async {
        let url = format!("{}/v1/messages", relay.url());
        let sent = http.post(url).header("cookie", "theirs=1").json(&json!({"model": "claude-sonnet-4-5"}));
        sent.send().await.unwrap().bytes().await.unwrap();
    };
    bench.of("ada", call).await;
    let event = bench.event().await;
    assert_eq!(event.context.resolve().user_id.as_deref(), Some("ada"));
    assert_eq!(bench.provider.requests()[0].header("cookie"), Some("theirs=1"));
}

#[test]
fn what_is_no_address_is_refused_at_the_start() {
    for wrong in ["api.anthropic.com", "ftp://x", ""] {
        let error = Relay::to(wrong).unwrap_err();
        assert!(error.is_config() && error.to_string().contains("https://api.anthropic.com"), "{error}");
    }
}
