//! genai with its feature `otel`, seen by `payi::tracing::layer()`; and through the relay.

use futures::StreamExt;
use genai::{
    Client, ModelIden, ServiceTarget,
    adapter::AdapterKind,
    chat::{ChatMessage, ChatOptions, ChatRequest},
    resolver::{AuthData, Endpoint},
};
use payi::{Context, events::Outcome, pricing::CostSource, relay::Relay, testing::Answer};

use crate::{bench::Bench, tracing::listen};

/// A client whose calls go where `address` says, which is asked at each call.
fn client(address: impl Fn() -> String + Clone + Send + Sync + 'static) -> Client {
    let resolve = move |target: ServiceTarget| {
        let endpoint = Endpoint::from_owned(format!("{}/v1/", address()));
        let model = ModelIden::new(AdapterKind::OpenAI, target.model.model_name);
        Ok(ServiceTarget { endpoint, auth: AuthData::from_single("sk-test"), model })
    };
    Client::builder().with_service_target_resolver_fn(resolve).build().unwrap()
}

fn hello() -> ChatRequest {
    ChatRequest::new(vec![ChatMessage::user("Hello")])
}

async fn chat(client: &Client, model: &str, stream: bool) {
    let options = ChatOptions::default().with_capture_usage(true);
    if stream {
        let mut events = client.exec_chat_stream(model, hello(), Some(&options)).await.unwrap().stream;
        while let Some(event) = events.next().await {
            event.unwrap();
        }
    } else {
        client.exec_chat(model, hello(), Some(&options)).await.unwrap();
    }
}

#[tokio::test]
async fn everybody_is_seen() {
    let _listening = listen();
    let bench = Bench::new();
    let url = bench.provider.url().to_owned();
    let client = client(move || url.clone());
    bench
        .everybody("genai 0.7 (tracing layer)", |n, stream| {
            let client = client.clone();
            async move { chat(&client, &format!("gpt-4o-mini-{n}"), stream).await }
        })
        .await;
}

#[tokio::test]
async fn a_stream_that_is_read_elsewhere_is_for_whom_it_was_opened() {
    let _listening = listen();
    let bench = Bench::new();
    let url = bench.provider.url().to_owned();
    let client = client(move || url.clone());
    let options = ChatOptions::default().with_capture_usage(true);
    let opened = client.exec_chat_stream("gpt-4o-mini", hello(), Some(&options));
    let mut events = bench.of("ada", opened).await.unwrap().stream;
    // genai sends its request only now.
    while let Some(event) = events.next().await {
        event.unwrap();
    }
    drop(events);
    let event = bench.event().await;
    assert_eq!(event.context.resolve().user_id.as_deref(), Some("ada"));
    assert_eq!((event.usage.output_tokens(), event.cost.source), (350, CostSource::Computed));
}

#[tokio::test]
async fn a_refusal_by_the_provider_is_a_failure() {
    let _listening = listen();
    let bench = Bench::new();
    bench.provider.next(Answer::json(r#"{"error":{"message":"slow down","code":"rate_limit"}}"#).status(429));
    let url = bench.provider.url().to_owned();
    let client = client(move || url.clone());
    bench.of("ada", client.exec_chat("gpt-4o-mini", hello(), None)).await.unwrap_err();
    assert_eq!(bench.event().await.outcome, Outcome::Failed);
}

#[tokio::test]
async fn through_the_relay_the_address_says_whom_a_call_is_for_and_spans_say_nothing_twice() {
    let _listening = listen();
    let bench = Bench::new();
    let relay = std::sync::Arc::new(Relay::to(bench.provider.url()).unwrap());
    // The resolver runs where the call is made.
    let client = client(move || relay.url_for(&Context::current()));
    bench
        .everybody("genai 0.7 (relay)", |n, stream| {
            let client = client.clone();
            async move { chat(&client, &format!("gpt-4o-mini-{n}"), stream).await }
        })
        .await;
}
