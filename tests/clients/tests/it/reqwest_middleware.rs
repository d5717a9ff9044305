//! reqwest-middleware with `payi::reqwest_middleware::middleware()`.

use http::Extensions;
use payi::{
    events::Outcome,
    testing::{Answer, Recorder},
};
use reqwest::{Request, Response};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next};
use serde_json::json;

use crate::bench::Bench;

pub(crate) fn client() -> ClientWithMiddleware {
    let client = payi::reqwest::Client::new().as_reqwest().clone();
    ClientBuilder::new(client).with(payi::reqwest_middleware::middleware()).build()
}

async fn send(http: &ClientWithMiddleware, url: &str, model: &str, stream: bool) -> Result<String, Error> {
    let body = json!({"model": model, "stream": stream, "messages": []});
    let answer = http.post(url).body(body.to_string()).send().await?;
    Ok(answer.text().await?)
}

#[tokio::test]
async fn everybody_is_seen() {
    let bench = Bench::new();
    let (http, url) = (client(), bench.url("/v1/chat/completions"));
    bench
        .everybody("reqwest-middleware 0.5", |n, stream| {
            let (http, url) = (http.clone(), url.clone());
            async move { drop(send(&http, &url, &format!("gpt-4o-mini-{n}"), stream).await.unwrap()) }
        })
        .await;
}

#[tokio::test]
async fn an_answer_stays_what_it_is_and_has_a_receipt() {
    let bench = Bench::new();
    let (http, url) = (client(), bench.url("/v1/messages"));
    let call = async {
        let body = json!({"model": "claude-sonnet-4-5", "messages": []}).to_string();
        let answer = http.post(&url).body(body).send().await.unwrap();
        assert_eq!(answer.url().as_str(), url);
        assert!(answer.content_length().is_some() && answer.remote_addr().is_some());
        let receipt = payi::receipt(&answer).unwrap();
        drop(answer.bytes().await.unwrap());
        receipt.settled().await.usage.output_tokens()
    };
    assert_eq!(bench.of("ada", call).await, 310);
    assert_eq!(bench.event().await.exchange, None);
}

/// What middlewares that repeat do.
struct Repeating;

#[async_trait::async_trait]
impl Middleware for Repeating {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        loop {
            let answer = next.clone().run(request.try_clone().unwrap(), extensions).await?;
            if answer.status() != 429 {
                return Ok(answer);
            }
        }
    }
}

#[tokio::test]
async fn each_attempt_is_an_event_of_one_call_and_registered_twice_it_counts_once() {
    let bench = Bench::new();
    let refusal = Answer::json(r#"{"error":{"code":"rate_limit_exceeded"}}"#).status(429);
    bench.provider.next(refusal.clone()).next(refusal);
    let http = ClientBuilder::from_client(ClientBuilder::new(reqwest_client()).with(Repeating).build())
        .with(payi::reqwest_middleware::middleware())
        .with(payi::reqwest_middleware::middleware())
        .build();
    let url = bench.url("/v1/chat/completions");
    bench.of("ada", send(&http, &url, "gpt-4o-mini", false)).await.unwrap();
    let events = bench.events(3).await;
    assert_eq!(events.iter().map(|event| event.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(events.iter().all(|event| event.call_id == events[0].id));
    // Nobody has read why.
    assert_eq!(events[0].error.as_deref(), Some("http_429"));
    assert_eq!(events[2].outcome, Outcome::Ok);
}

fn reqwest_client() -> reqwest::Client {
    payi::reqwest::Client::new().as_reqwest().clone()
}

#[tokio::test]
async fn a_stream_dropped_early_is_aborted_and_nobody_at_home_is_a_failure() {
    let bench = Bench::new();
    let http = client();
    let body = json!({"model": "gpt-4o-mini", "stream": true, "messages": []}).to_string();
    let url = bench.url("/v1/chat/completions");
    let dropped = async {
        let mut answer = http.post(url).body(body).send().await.unwrap();
        answer.chunk().await.unwrap().unwrap();
    };
    bench.of("ada", dropped).await;
    let event = bench.event().await;
    assert_eq!(event.outcome, Outcome::Aborted);
    assert_eq!(event.context.resolve().user_id.as_deref(), Some("ada"));
    let error = bench.of("ada", send(&http, "http://127.0.0.1:1/v1/messages", "m", false)).await.unwrap_err();
    assert!(error.is_connect());
    assert_eq!(bench.event().await.error.as_deref(), Some("connect"));
}

#[tokio::test]
async fn a_refusal_is_inside_the_clients_own_error_and_nothing_is_sent() {
    let bench = Bench::new();
    let strict = Recorder::new().require([payi::Key::UserId]);
    let url = bench.url("/v1/chat/completions");
    let error = strict.scope(send(&client(), &url, "gpt-4o-mini", false)).await.unwrap_err();
    assert!(payi::Error::find(&error).is_some_and(payi::Error::is_unattributed), "{error:?}");
    assert!(bench.provider.requests().is_empty());
}
