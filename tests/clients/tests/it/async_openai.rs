//! async-openai with `payi::async_openai::service()`: plain, streamed, dropped, repeated, in `join!`.

use std::time::Duration;

use async_openai::{
    Client,
    config::OpenAIConfig,
    error::OpenAIError,
    types::{
        chat::{
            ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequest,
            CreateChatCompletionRequestArgs,
        },
        responses::CreateResponseArgs,
    },
};
use futures::StreamExt;
use payi::{
    ReceiptsExt,
    events::{Event, Outcome, Settings},
    pricing::CostSource,
    testing::{Answer, Provider, Recorder},
};

use crate::bench::Bench;

pub(crate) fn client(url: &str) -> Client<OpenAIConfig> {
    let config = OpenAIConfig::new().with_api_base(format!("{url}/v1")).with_api_key("sk-test");
    Client::with_config(config).with_http_service(payi::async_openai::service())
}

#[tokio::test]
async fn everybody_is_seen() {
    let bench = Bench::new();
    let client = client(bench.provider.url());
    bench
        .everybody("async-openai 0.43", |n, stream| {
            let (client, mut request) = (client.clone(), ask("hello"));
            request.model = format!("gpt-4o-mini-{n}");
            async move {
                if stream {
                    let mut chunks = client.chat().create_stream(request).await.unwrap();
                    while let Some(chunk) = chunks.next().await {
                        chunk.unwrap();
                    }
                } else {
                    client.chat().create(request).await.unwrap();
                }
            }
        })
        .await;
}

fn ask(text: &str) -> CreateChatCompletionRequest {
    let message = ChatCompletionRequestUserMessageArgs::default().content(text).build().unwrap();
    CreateChatCompletionRequestArgs::default()
        .model("gpt-4o-mini")
        .messages([message.into()])
        .build()
        .unwrap()
}

fn refused() -> Answer {
    let body =
        r#"{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
    Answer::json(body).status(429).header("retry-after", "0")
}

fn recorder() -> Recorder {
    let mut settings = Settings::default();
    settings.stream_usage_hosts.push("127.0.0.1".into());
    Recorder::new().settings(settings)
}

fn one(recorder: &Recorder) -> Event {
    assert_eq!(recorder.open_calls(), 0);
    let [event] = &recorder.take()[..] else { panic!("one event") };
    event.clone()
}

#[tokio::test]
async fn a_plain_call_and_a_response_are_recorded_for_their_user() {
    let (provider, recorder) = (Provider::start().unwrap(), recorder());
    let client = client(provider.url());
    recorder
        .scope(async {
            payi::context()
                .user_id("ada")
                .scope(async {
                    let answer = client.chat().create(ask("hello")).await.unwrap();
                    assert!(answer.choices[0].message.content.as_deref().unwrap().contains("measure first"));
                })
                .await;
            let event = one(&recorder);
            assert_eq!((event.outcome, event.usage.output_tokens()), (Outcome::Ok, 350));
            assert_eq!(event.cost.source, CostSource::Computed);
            assert_eq!(event.context.resolve().user_id.as_deref(), Some("ada"));

            let request = CreateResponseArgs::default().model("gpt-5-mini").input("hello").build().unwrap();
            let (answer, receipts) = client.responses().create(request).with_receipts().await;
            assert!(answer.unwrap().id.starts_with("resp_"));
            assert_eq!(receipts[0].settled().await.usage.output_tokens(), 420);
            assert_eq!(&*one(&recorder).operation, "responses");
        })
        .await;
    assert_eq!(provider.requests()[0].header("authorization"), Some("Bearer sk-test"));
}

#[tokio::test]
async fn a_stream_carries_its_usage_though_nobody_asked_and_user_code_may_index_choices() {
    let (provider, recorder) = (Provider::start().unwrap(), recorder());
    let client = client(provider.url());
    recorder
        .scope(async {
            let mut stream = client.chat().create_stream(ask("hello")).await.unwrap();
            let mut text = String::new();
            while let Some(chunk) = stream.next().await {
                text.push_str(chunk.unwrap().choices[0].delta.content.as_deref().unwrap_or_default());
            }
            assert_eq!(text, "It says: measure first, then cut.");
        })
        .await;
    settle(&recorder).await;
    let event = one(&recorder);
    assert_eq!((event.outcome, event.usage.output_tokens(), event.streamed), (Outcome::Ok, 350, true));
    assert_eq!(event.cost.source, CostSource::Computed);
}

/// async-openai reads streams in a task of its own, which ends a moment after the stream does.
async fn settle(recorder: &Recorder) {
    for _ in 0..200 {
        if recorder.open_calls() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_stream_dropped_early_is_aborted_and_still_belongs_to_its_user() {
    let (provider, recorder) = (Provider::start().unwrap(), recorder());
    let stream = include_str!("../../../../payi-core/src/testing/answers/chat_stream.json");
    provider.next(Answer::sample(stream).unwrap().pause(Duration::from_millis(100)));
    let client = client(provider.url());
    let ada = payi::context().user_id("ada");
    recorder
        .scope(async {
            let mut stream = ada.scope(client.chat().create_stream(ask("hello"))).await.unwrap();
            stream.next().await.unwrap().unwrap();
        })
        .await;
    settle(&recorder).await;
    let event = one(&recorder);
    assert_eq!((event.outcome, event.cost.source), (Outcome::Aborted, CostSource::Estimated));
    assert_eq!(event.context.resolve().user_id.as_deref(), Some("ada"));
    assert!(event.response_id.is_some() && event.time_to_first_token.is_some());
}

#[tokio::test]
async fn each_attempt_is_an_event_and_all_of_a_call_share_its_id() {
    let (provider, recorder) = (Provider::start().unwrap(), recorder());
    provider.next(refused()).next(refused());
    let client = client(provider.url());
    let call = async {
        let ada = payi::context().user_id("ada");
        ada.scope(async { client.chat().create(ask("x")).await }).with_receipts().await
    };
    let (answer, receipts) = recorder.scope(call).await;
    answer.unwrap();
    let events = recorder.take();
    assert_eq!(events.iter().map(|e| e.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(
        events.iter().map(|e| e.outcome).collect::<Vec<_>>(),
        [Outcome::Failed, Outcome::Failed, Outcome::Ok]
    );
    assert_eq!(events[0].error.as_deref(), Some("rate_limit_exceeded"));
    assert!(events.iter().all(|e| e.call_id == events[0].id));
    assert!(events.iter().all(|e| e.context.resolve().user_id.as_deref() == Some("ada")));
    assert_eq!(receipts.len(), 3);
}

#[tokio::test]
async fn what_is_refused_for_good_keeps_its_error() {
    let (provider, recorder) = (Provider::start().unwrap(), recorder());
    let body = r#"{"error":{"message":"no such model","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#;
    provider.next(Answer::json(body).status(404));
    let client = client(provider.url());
    let error = recorder.scope(client.chat().create(ask("x"))).await.unwrap_err();
    assert!(matches!(error, OpenAIError::ApiError(_)), "{error:?}");
    assert_eq!(one(&recorder).error.as_deref(), Some("model_not_found"));
}

#[tokio::test]
async fn two_users_in_one_join_are_not_mixed_up_while_both_are_repeated() {
    let (provider, recorder) = (Provider::start().unwrap(), recorder());
    for _ in 0..3 {
        provider.next(refused());
    }
    let client = client(provider.url());
    let call = |user: &'static str| {
        let client = client.clone();
        payi::context().user_id(user).scope(async move { client.chat().create(ask(user)).await })
    };
    let (a, b) = recorder.scope(async { tokio::join!(call("ada"), call("bob")) }).await;
    a.unwrap();
    b.unwrap();
    let events = recorder.take();
    assert_eq!(events.len(), 5);
    for user in ["ada", "bob"] {
        let of: Vec<_> =
            events.iter().filter(|e| e.context.resolve().user_id.as_deref() == Some(user)).collect();
        assert!(of.iter().all(|e| e.call_id == of[0].id), "one call of {user}");
        assert_eq!(of.iter().filter(|e| e.outcome == Outcome::Ok).count(), 1);
        let attempts: Vec<_> = of.iter().map(|e| e.attempt).collect();
        assert_eq!(attempts, (1..=u32::try_from(of.len()).unwrap()).collect::<Vec<_>>());
    }
}
