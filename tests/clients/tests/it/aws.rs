//! The AWS SDK's Bedrock with `payi::aws::interceptor()`.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_bedrockruntime::{
    Client, Config,
    config::{BehaviorVersion, Region, retry::RetryConfig},
    error::DisplayErrorContext,
    primitives::Blob,
    types::{ContentBlock, ConversationRole, Message, ResponseStream},
};
use payi::{
    ReceiptsExt,
    events::Outcome,
    pricing::CostSource,
    testing::{Answer, Recorder},
};
use serde_json::json;

use crate::bench::Bench;

fn config(url: &str) -> aws_sdk_bedrockruntime::config::Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "not-a-secret", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .interceptor(payi::aws::interceptor())
}

pub(crate) fn client(url: &str) -> Client {
    Client::from_conf(config(url).retry_config(RetryConfig::disabled()).build())
}

pub(crate) fn hello() -> Message {
    let text = ContentBlock::Text("Hello".to_owned());
    Message::builder().role(ConversationRole::User).content(text).build().unwrap()
}

fn claude() -> Blob {
    let body = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 1024, "messages": []});
    Blob::new(body.to_string())
}

#[tokio::test]
async fn everybody_who_converses_is_seen() {
    let bench = Bench::new();
    let client = client(bench.provider.url());
    bench
        .everybody("aws-sdk-bedrockruntime, converse", |n, stream| {
            let (client, model) = (client.clone(), format!("amazon.nova-lite-v1:{n}"));
            async move {
                if stream {
                    let sent = client.converse_stream().model_id(model).messages(hello()).send().await;
                    let mut events = sent.unwrap().stream;
                    while events.recv().await.unwrap().is_some() {}
                } else {
                    let answer = client.converse().model_id(model).messages(hello()).send().await.unwrap();
                    assert_eq!(answer.usage().unwrap().output_tokens(), 350);
                }
            }
        })
        .await;
}

#[tokio::test]
async fn everybody_who_invokes_a_model_is_seen() {
    let bench = Bench::new();
    let client = client(bench.provider.url());
    bench
        .everybody("aws-sdk-bedrockruntime, invoke_model", |n, stream| {
            let (client, model) = (client.clone(), format!("anthropic.claude-3-haiku-20240307-v1:{n}"));
            async move {
                if stream {
                    let call = client.invoke_model_with_response_stream().model_id(model).body(claude());
                    let mut events = call.send().await.unwrap().body;
                    while let Some(event) = events.recv().await.unwrap() {
                        assert!(matches!(event, ResponseStream::Chunk(_)));
                    }
                } else {
                    let call = client.invoke_model().model_id(model).body(claude());
                    assert!(!call.send().await.unwrap().body().as_ref().is_empty());
                }
            }
        })
        .await;
}

#[tokio::test]
async fn a_call_is_known_as_what_it_is_and_counts_once_though_registered_twice() {
    let bench = Bench::new();
    let client = client(bench.provider.url());
    let call = client.converse().model_id("amazon.nova-lite-v1:0").messages(hello());
    let call = call.customize().interceptor(payi::aws::interceptor()).send().with_receipts();
    let (answer, receipts) = bench.of("ada", call).await;
    answer.unwrap();
    let event = bench.event().await;
    assert_eq!(
        (&*event.provider, &*event.category, &*event.operation),
        ("aws", "system.aws.bedrock", "converse")
    );
    assert_eq!((event.http_status, event.cost.source), (Some(200), CostSource::Computed));
    assert_eq!(receipts.iter().map(payi::Receipt::event_id).collect::<Vec<_>>(), [event.id]);
    assert_eq!(event.context.resolve().user_id.as_deref(), Some("ada"));
}

#[tokio::test]
async fn a_stream_dropped_early_is_aborted() {
    let bench = Bench::new();
    let sample = include_str!("../../../../payi-core/src/testing/answers/converse_stream.json");
    let slow = Answer::sample(sample).unwrap().pieces(150).pause(Duration::from_millis(30));
    bench.provider.next(slow);
    let client = client(bench.provider.url());
    let call = async {
        let sent = client.converse_stream().model_id("amazon.nova-lite-v1:0").messages(hello()).send().await;
        sent.unwrap().stream.recv().await.unwrap().unwrap();
    };
    bench.of("ada", call).await;
    let event = bench.event().await;
    assert_eq!((event.outcome, event.streamed), (Outcome::Aborted, true));
    assert_eq!(event.context.resolve().user_id.as_deref(), Some("ada"));
}

#[tokio::test]
async fn each_attempt_is_an_event_of_one_call() {
    let bench = Bench::new();
    let refusal = Answer::json(r#"{"message":"Too many"}"#).status(429);
    bench.provider.next(refusal.header("x-amzn-errortype", "ThrottlingException"));
    let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let client = Client::from_conf(config(bench.provider.url()).retry_config(retries).build());
    let call = client.converse().model_id("amazon.nova-lite-v1:0").messages(hello()).send();
    bench.of("ada", call).await.unwrap();
    let events = bench.events(2).await;
    assert_eq!(events.iter().map(|event| event.attempt).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(events.iter().map(|event| event.outcome).collect::<Vec<_>>(), [Outcome::Failed, Outcome::Ok]);
    assert!(events.iter().all(|event| event.call_id == events[0].id));
    assert_eq!(events[0].http_status, Some(429));
}

#[tokio::test]
async fn nobody_at_home_is_a_failure_and_a_call_given_up_is_aborted() {
    let bench = Bench::new();
    let nobody =
        Client::from_conf(config("http://127.0.0.1:1").retry_config(RetryConfig::disabled()).build());
    let call = nobody.converse().model_id("amazon.nova-lite-v1:0").messages(hello()).send();
    bench.of("ada", call).await.unwrap_err();
    let event = bench.event().await;
    assert_eq!((event.outcome, event.error.as_deref()), (Outcome::Failed, Some("connect")));
    bench.provider.next(Answer::json("{}").delay(Duration::from_secs(5)));
    let client = client(bench.provider.url());
    let call = client.converse().model_id("amazon.nova-lite-v1:0").messages(hello()).send();
    let limit = Duration::from_millis(100);
    bench.of("ada", tokio::time::timeout(limit, call)).await.unwrap_err();
    assert_eq!(bench.event().await.outcome, Outcome::Aborted);
}

#[tokio::test]
async fn a_refusal_is_inside_the_sdks_own_error_and_nothing_is_sent() {
    let bench = Bench::new();
    let strict = Recorder::new().require([payi::Key::UserId]);
    let client = client(bench.provider.url());
    let call = client.converse().model_id("amazon.nova-lite-v1:0").messages(hello());
    let call = call.customize().interceptor(payi::aws::interceptor()).send();
    let error = strict.scope(call).await.unwrap_err();
    let found = payi::Error::find(&error);
    assert!(found.is_some_and(payi::Error::is_unattributed), "{}", DisplayErrorContext(&error));
    assert!(bench.provider.requests().is_empty());
}
