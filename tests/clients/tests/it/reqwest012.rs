//! The client over the older reqwest: the same files, another crate.

use payi::{
    events::{Outcome, Settings},
    pricing::CostSource,
    testing::{Provider, Recorder},
};
use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn everybody_is_seen() {
    let bench = Bench::new();
    let http = payi::reqwest012::Client::from(reqwest012::Client::new());
    let url = bench.url("/v1/messages");
    bench
        .everybody("reqwest 0.12", |n, stream| {
            let body = json!({"model": format!("claude-sonnet-4-5-{n}"), "stream": stream, "messages": []});
            let sent = http.post(&url).json(&body);
            async move { drop(sent.send().await.unwrap().bytes().await.unwrap()) }
        })
        .await;
}

#[tokio::test]
async fn plain_and_streamed_calls_are_recorded_and_responses_stay_what_they_are() {
    let provider = Provider::start().unwrap();
    let mut settings = Settings::default();
    settings.stream_usage_hosts.push("127.0.0.1".into());
    let recorder = Recorder::new().settings(settings);
    let http = payi::reqwest012::Client::from(reqwest012::Client::new());
    let url = format!("{}/v1/chat/completions", provider.url());
    for stream in [false, true] {
        let body = serde_json::json!({"model": "gpt-4o-mini", "stream": stream, "messages": []});
        let call = async {
            let answer: reqwest012::Response = http.post(&url).json(&body).send().await.unwrap();
            assert_eq!(answer.url().as_str(), url);
            assert!(answer.remote_addr().is_some());
            assert_eq!(answer.content_length().is_some(), !stream);
            let receipt = payi::receipt(&answer).unwrap();
            let text = answer.text().await.unwrap();
            assert!(text.contains("measure") && !text.contains("\"choices\":[],"));
            receipt.settled().await
        };
        let settled = recorder.scope(call).await;
        let [event] = &recorder.take()[..] else { panic!("one event") };
        assert_eq!((event.outcome, event.streamed), (Outcome::Ok, stream));
        assert_eq!((event.cost, settled.cost.source), (settled.cost, CostSource::Computed));
    }
    let nobody = async { http.post("http://127.0.0.1:1/v1/messages").body("{}").send().await };
    let error = recorder.scope(nobody).await.unwrap_err();
    assert!(error.is_connect() && error.as_reqwest().is_some());
    assert_eq!(recorder.take()[0].error.as_deref(), Some("connect"));
}
