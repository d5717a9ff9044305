//! rig, seen by `payi::tracing::layer()`; and through reqwest-middleware, which sees more.

use futures::StreamExt;
use payi::{events::Outcome, pricing::CostSource};
use rig_agent::prelude::AgentBuilder;
use rig_core::{
    completion::CompletionRequest,
    providers::openai::{OpenAI, OpenAIConfig},
};
use rig_reqwest::ReqwestMiddlewareClient;

use crate::{bench::Bench, tracing::listen};

pub(crate) fn config(bench: &Bench) -> OpenAIConfig {
    OpenAIConfig::new("sk-test").with_base_url(bench.url("/v1"))
}

/// rig's client over one that payi tracks.
fn through_middleware(bench: &Bench) -> OpenAI {
    let client = payi::reqwest::Client::new().as_reqwest().clone();
    let client =
        reqwest_middleware::ClientBuilder::new(client).with(payi::reqwest_middleware::middleware()).build();
    config(bench).connect(ReqwestMiddlewareClient::from(client))
}

pub(crate) async fn chat(rig: &OpenAI, model: &str, stream: bool) {
    let model = rig.chat(model);
    let hello = CompletionRequest::new("Hello");
    if stream {
        model.stream(hello).unwrap().finish().await.unwrap();
    } else {
        model.call(hello).await.unwrap();
    }
}

#[tokio::test]
async fn everybody_is_seen() {
    let _listening = listen();
    let bench = Bench::new();
    let rig = config(&bench).client();
    bench
        .everybody("rig 0.44 (tracing layer)", |n, stream| {
            let rig = rig.clone();
            async move { chat(&rig, &format!("gpt-4o-mini-{n}"), stream).await }
        })
        .await;
}

#[tokio::test]
async fn everybody_is_seen_through_the_middleware_and_nobody_twice() {
    let _listening = listen();
    let bench = Bench::new();
    let rig = through_middleware(&bench);
    bench
        .everybody("rig 0.44 (reqwest-middleware)", |n, stream| {
            let rig = rig.clone();
            async move { chat(&rig, &format!("gpt-4o-mini-{n}"), stream).await }
        })
        .await;
}

#[tokio::test]
async fn what_an_agent_sums_up_is_not_counted() {
    let _listening = listen();
    let bench = Bench::new();
    let agent = AgentBuilder::new(config(&bench).client().chat("gpt-4o-mini")).build();
    let asked = async { agent.prompt("Hello").await.unwrap() };
    bench.of("ada", asked).await;
    let event = bench.event().await;
    assert_eq!((event.outcome, event.usage.output_tokens()), (Outcome::Ok, 350));
    assert_eq!(event.context.resolve().user_id.as_deref(), Some("ada"));
}

#[tokio::test]
async fn a_stream_sent_and_read_elsewhere_is_metered_by_its_transport_for_whom_it_was_opened() {
    let _listening = listen();
    let bench = Bench::new();
    let rig = through_middleware(&bench);
    let opened = async { rig.chat("gpt-4o-mini").stream(CompletionRequest::new("Hello")).unwrap() };
    let mut items = bench.of("ada", opened).await;
    // rig sends its request only now; read item by item, its span never learns the usage.
    while let Some(item) = items.next().await {
        item.unwrap();
    }
    drop(items);
    let event = bench.event().await;
    assert_eq!(event.context.resolve().user_id.as_deref(), Some("ada"));
    assert_eq!((event.usage.output_tokens(), event.cost.source), (350, CostSource::Computed));
}

#[tokio::test]
async fn a_stream_dropped_early_is_aborted_by_its_transport() {
    let _listening = listen();
    let bench = Bench::new();
    let rig = through_middleware(&bench);
    let dropped = async {
        let mut items = rig.chat("gpt-4o-mini").stream(CompletionRequest::new("Hello")).unwrap();
        items.next().await.unwrap().unwrap();
    };
    let sample = include_str!("../../../../payi-core/src/testing/answers/chat_stream.json");
    let slow = payi::testing::Answer::sample(sample).unwrap().pause(std::time::Duration::from_millis(50));
    bench.provider.next(slow);
    bench.of("ada", dropped).await;
    assert_eq!(bench.event().await.outcome, Outcome::Aborted);
}
