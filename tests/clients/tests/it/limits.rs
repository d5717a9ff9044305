//! Limits through every client that has a place before the call: one call fits and the next is refused inside of the
//! client's own error, and a request is given the maximum that what is left pays for.

use std::{error::Error, future::Future};

use async_openai::types::chat::CreateChatCompletionRequestArgs;
use http_body_util::BodyExt;
use payi::{
    limits::{Limit, Policy, Refusal, Subject},
    testing::Recorder,
};
use serde_json::{Value, json};

use crate::bench::Bench;

type Done = Result<(), Box<dyn Error>>;

const CHAT: &str = "/v1/chat/completions";

fn body() -> String {
    json!({"model": "gpt-4o-mini", "messages": []}).to_string()
}

fn limited(bench: &mut Bench, limit: Limit) {
    bench.recorder = Recorder::new().limit(limit).unwrap();
}

fn refusal(done: &Done) -> Option<&Refusal> {
    payi::Error::find(&**done.as_ref().err()?)?.refusal()
}

/// What of a limit on calls is used up.
fn used(bench: &Bench, limit: &str) -> i128 {
    let limits = bench.recorder.limits().unwrap();
    limits.standing(limit, &Subject::default()).unwrap().unwrap().settled
}

/// One call fits, and the next is refused and never leaves.
async fn the_second_is_refused<F: Future<Output = Done>>(client: &str, call: impl Fn(String) -> F) {
    let mut bench = Bench::new();
    limited(&mut bench, Limit::calls("one", 1).everyone());
    let first = bench.recorder.scope(call(bench.provider.url().to_owned())).await;
    assert!(
        first.is_ok(),
        "{client}: {first:?} {:#?} {:#?}",
        bench.recorder.events(),
        bench.provider.requests()
    );
    let second = bench.recorder.scope(call(bench.provider.url().to_owned())).await;
    let refused = refusal(&second).unwrap_or_else(|| panic!("{client}: {second:?}"));
    assert_eq!((&*refused.limit_id, refused.spent, refused.max), ("one", 1, 1), "{client}");
    assert_eq!((bench.provider.requests().len(), used(&bench, "one")), (1, 1), "{client}: it never left");
    assert_eq!(bench.recorder.open_calls(), 0, "{client}");
}

/// The request is given a maximum that what is left pays for.
async fn a_maximum_is_given<F: Future<Output = Done>>(client: &str, call: impl Fn(String) -> F) {
    let mut bench = Bench::new();
    limited(
        &mut bench,
        Limit::block("l", "0.002".parse().unwrap()).policy(Policy::InjectMaxTokens).everyone(),
    );
    bench.recorder.scope(call(bench.provider.url().to_owned())).await.unwrap();
    let sent: Value = serde_json::from_slice(&bench.provider.requests()[0].body).unwrap();
    assert_eq!(sent["max_completion_tokens"], 1024, "{client}: {sent}");
    assert_eq!(sent["model"], "gpt-4o-mini", "{client}");
}

async fn everything<F: Future<Output = Done>>(client: &str, call: impl Fn(String) -> F) {
    the_second_is_refused(client, &call).await;
    a_maximum_is_given(client, &call).await;
}

/// A call through any of the clients that post as reqwest does: their types have nothing in common but these methods.
macro_rules! posting {
    ($http:ident) => {
        |url: String| {
            let http = $http.clone();
            async move {
                http.post(url + CHAT).body(body()).send().await?.bytes().await?;
                Ok(())
            }
        }
    };
}

#[tokio::test]
async fn reqwest_in_both_versions() {
    let http = payi::reqwest::Client::new();
    everything("reqwest 0.13", posting!(http)).await;
    let http = payi::reqwest012::Client::from(reqwest012::Client::new());
    everything("reqwest 0.12", posting!(http)).await;
}

#[tokio::test]
async fn reqwest_middleware() {
    let http = crate::reqwest_middleware::client();
    everything("reqwest-middleware", posting!(http)).await;
}

#[tokio::test]
async fn hyper_below_a_tower_layer() {
    let http = crate::tower::client();
    everything("hyper (tower layer)", |url| {
        let http = http.clone();
        async move {
            let request = http::Request::post(url + CHAT).body(body().into())?;
            let answer =
                crate::tower::send(&http, request).await.map_err(|error| -> Box<dyn Error> { error })?;
            answer.into_body().collect().await?;
            Ok(())
        }
    })
    .await;
}

#[tokio::test]
async fn async_openai() {
    everything("async-openai", |url| async move {
        let ask = CreateChatCompletionRequestArgs::default().model("gpt-4o-mini").messages(vec![]).build()?;
        crate::async_openai::client(&url).chat().create(ask).await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_aws_sdk_whose_signed_requests_are_not_changed() {
    let converse = |url: String| async move {
        let client = crate::aws::client(&url);
        let call = client.converse().model_id("amazon.nova-lite-v1:0").messages(crate::aws::hello());
        call.send().await?;
        Ok(())
    };
    the_second_is_refused("aws-sdk-bedrockruntime", converse).await;
    let mut bench = Bench::new();
    limited(
        &mut bench,
        Limit::block("l", "0.000001".parse().unwrap()).policy(Policy::InjectMaxTokens).everyone(),
    );
    let done: Done = bench.recorder.scope(converse(bench.provider.url().to_owned())).await;
    assert_eq!(refusal(&done).map(|refusal| &*refusal.limit_id), Some("l"), "{done:?}");
    assert!(bench.provider.requests().is_empty());
}

#[tokio::test]
async fn what_only_a_span_tells_of_is_charged_and_never_refused() {
    let _listening = crate::tracing::listen();
    let mut bench = Bench::new();
    limited(&mut bench, Limit::calls("one", 1).everyone());
    let rig = crate::rig::config(&bench).client();
    for n in 1..=2 {
        bench.recorder.scope(crate::rig::chat(&rig, "gpt-4o-mini", false)).await;
        assert_eq!(used(&bench, "one"), n);
    }
}
