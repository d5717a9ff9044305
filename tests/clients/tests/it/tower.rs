//! hyper's client below `payi::tower::CallLayer`.

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use payi::{
    events::Outcome,
    testing::Recorder,
    tower::{AnswerBody, CallBody, CallLayer, CallService},
};
use serde_json::json;
use tower::{BoxError, Layer, ServiceExt};

use crate::bench::Bench;

pub(crate) type Hyper = CallService<Client<HttpConnector, CallBody<Full<Bytes>>>>;

pub(crate) fn client() -> Hyper {
    CallLayer::new().layer(Client::builder(TokioExecutor::new()).build_http())
}

fn request(url: &str, model: &str, stream: bool) -> Request<Full<Bytes>> {
    let body = json!({"model": model, "stream": stream, "messages": []});
    Request::post(url).body(Full::from(body.to_string())).unwrap()
}

pub(crate) async fn send(
    http: &Hyper,
    request: Request<Full<Bytes>>,
) -> Result<Response<AnswerBody<Incoming>>, BoxError> {
    http.clone().oneshot(request).await
}

#[tokio::test]
async fn everybody_is_seen() {
    let bench = Bench::new();
    let (http, url) = (client(), bench.url("/v1/chat/completions"));
    bench
        .everybody("hyper 1 (tower layer)", |n, stream| {
            let (http, request) = (http.clone(), request(&url, &format!("gpt-4o-mini-{n}"), stream));
            async move {
                let body =
                    send(&http, request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
                // The chunk that the stream was made to send is kept from the caller.
                assert!(!String::from_utf8_lossy(&body).contains("\"choices\":[],"));
            }
        })
        .await;
}

#[tokio::test]
async fn laid_over_twice_it_counts_once_and_a_receipt_is_with_the_answer() {
    let bench = Bench::new();
    let hyper = Client::builder(TokioExecutor::new()).build_http::<CallBody<CallBody<Full<Bytes>>>>();
    let http = CallLayer::new().layer(CallLayer::new().layer(hyper));
    let call = async {
        let answer =
            http.oneshot(request(&bench.url("/v1/messages"), "claude-sonnet-4-5", false)).await.unwrap();
        let receipt = payi::receipt(&answer).unwrap();
        assert!(answer.headers().contains_key("content-length"));
        answer.into_body().collect().await.unwrap();
        receipt.settled().await.usage.output_tokens()
    };
    assert_eq!(bench.of("ada", call).await, 310);
    assert_eq!(bench.event().await.request_model.as_deref(), Some("claude-sonnet-4-5"));
}

#[tokio::test]
async fn a_body_that_comes_in_pieces_is_passed_on_as_it_comes() {
    let bench = Bench::new();
    let body = json!({"model": "gpt-4o-mini", "messages": []}).to_string();
    let (first, second) = body.split_at(9);
    let pieces = [Bytes::from(first.to_owned()), Bytes::from(second.to_owned())];
    let pieces = futures::stream::iter(pieces).then(|piece| async {
        tokio::task::yield_now().await;
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(piece))
    });
    let body = StreamBody::new(Box::pin(pieces));
    let http = CallLayer::new().layer(Client::builder(TokioExecutor::new()).build_http());
    let request = Request::post(bench.url("/v1/chat/completions")).body(body).unwrap();
    let answer = bench.of("ada", http.oneshot(request)).await.unwrap();
    answer.into_body().collect().await.unwrap();
    assert_eq!(bench.provider.requests()[0].body, [first, second].concat().as_bytes());
    let event = bench.event().await;
    // Its model is known from the answer only.
    assert_eq!((event.request_model, event.usage.output_tokens()), (None, 350));
}

#[tokio::test]
async fn a_stream_dropped_early_is_aborted_and_nobody_at_home_is_a_failure() {
    let bench = Bench::new();
    let http = client();
    let url = bench.url("/v1/chat/completions");
    let dropped = async {
        let mut body = send(&http, request(&url, "gpt-4o-mini", true)).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
    };
    bench.of("ada", dropped).await;
    let event = bench.event().await;
    assert_eq!((event.outcome, event.streamed), (Outcome::Aborted, true));
    assert_eq!(event.context.resolve().user_id.as_deref(), Some("ada"));
    bench.of("ada", send(&http, request("http://127.0.0.1:1/v1/messages", "m", false))).await.unwrap_err();
    assert_eq!(bench.event().await.error.as_deref(), Some("connect"));
}

#[tokio::test]
async fn a_refusal_is_inside_the_error_and_nothing_is_sent() {
    let bench = Bench::new();
    let strict = Recorder::new().require([payi::Key::UserId]);
    let asked = request(&bench.url("/v1/chat/completions"), "gpt-4o-mini", false);
    let error = strict.scope(send(&client(), asked)).await.unwrap_err();
    assert!(payi::Error::find(&*error).is_some_and(payi::Error::is_unattributed), "{error:?}");
    assert!(bench.provider.requests().is_empty());
}
