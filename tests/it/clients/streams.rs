//! Streams: read to the end, dropped early, and made to carry their usage.

use std::time::Duration;

use payi::{
    events::{Outcome, Settings, StreamUsage},
    pricing::CostSource,
    testing::{Answer, Recorder},
    usage::Bucket,
};

use super::{Bench, STREAM};

const UNASKED: &str = r#"{"model":"gpt-4o-mini","stream":true,"messages":[]}"#;

#[tokio::test]
async fn a_stream_read_to_its_end_is_settled_with_its_usage() {
    let bench = Bench::new();
    let text = bench.recorder.scope(bench.chat(STREAM)).await.expect("a stream");
    assert!(text.ends_with("data: [DONE]\n\n") && text.contains("\"choices\":[],"));
    let event = bench.event();
    assert!(event.streamed && event.time_to_first_token.is_some_and(|first| first <= event.latency));
    assert_eq!((event.outcome, event.usage.output_tokens()), (Outcome::Ok, 350));
    assert_eq!(event.cost.source, CostSource::Computed);
}

#[tokio::test]
async fn anthropic_and_responses_stream_their_usage_unasked() {
    let bench = Bench::new();
    for (path, output) in [("/v1/messages", 310), ("/v1/responses", 420)] {
        let call = async {
            bench.http.post(bench.url(path)).body(UNASKED).send().await.expect("a head").text().await
        };
        bench.recorder.scope(call).await.expect("a stream");
        let event = bench.event();
        assert_eq!((event.outcome, event.usage.output_tokens()), (Outcome::Ok, output), "{path}");
        assert!(event.streamed);
    }
}

#[tokio::test]
async fn fault_30_a_stream_dropped_early_is_aborted_with_what_was_seen() {
    let bench = Bench::new();
    let call = async {
        let sent = bench
            .http
            .post(bench.url("/v1/messages"))
            .body(r#"{"model":"claude-sonnet-4-5","stream":true}"#)
            .send();
        let mut answer = sent.await.expect("a head");
        answer.chunk().await.expect("a first piece").expect("some bytes");
    };
    bench.recorder.scope(call).await;
    let event = bench.event();
    assert_eq!(event.outcome, Outcome::Aborted);
    assert_eq!(event.usage.get(Bucket::CacheWrite), 2048);
    assert!(event.response_id.is_some() && event.error.is_none());
}

#[tokio::test]
async fn whoever_stops_at_the_mark_of_the_end_has_read_it_all() {
    let bench = Bench::new();
    // The connection stays open long after the mark, as behind some proxies.
    let events = "data: {\"id\":\"c-1\",\"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n: waiting\n\n";
    bench.provider.next(Answer::sse(events).pause(Duration::from_millis(300)));
    let call = async {
        let mut answer =
            bench.http.post(bench.url("/v1/chat/completions")).body(STREAM).send().await.expect("a head");
        let mut text = Vec::new();
        while !text.ends_with(b"[DONE]\n\n") {
            text.extend_from_slice(&answer.chunk().await.expect("a piece").expect("some bytes"));
        }
    };
    bench.recorder.scope(call).await;
    let event = bench.event();
    assert_eq!((event.outcome, event.usage.input_tokens()), (Outcome::Ok, 4));
}

#[tokio::test]
async fn a_stream_that_breaks_off_has_failed_with_what_was_seen() {
    let bench = Bench::new();
    let answer = Answer::sample(include_str!("../../../payi-core/src/testing/answers/messages_stream.json"));
    bench.provider.next(answer.expect("a sample").cut(600));
    let call = async {
        bench.http.post(bench.url("/v1/messages")).body(UNASKED).send().await.expect("a head").text().await
    };
    bench.recorder.scope(call).await.expect_err("it breaks off");
    let event = bench.event();
    assert_eq!((event.outcome, event.usage.get(Bucket::CacheWrite)), (Outcome::Failed, 2048));
    assert!(event.error.is_some());
}

fn auto() -> Settings {
    let mut settings = Settings::default();
    settings.stream_usage_hosts.push("127.0.0.1".into());
    settings
}

#[tokio::test]
async fn where_the_host_is_known_to_accept_it_usage_is_asked_for_and_the_extra_chunk_hidden() {
    let mut bench = Bench::new();
    bench.recorder = Recorder::new().settings(auto());
    let text = bench.recorder.scope(bench.chat(UNASKED)).await.expect("a stream");
    assert!(text.ends_with("data: [DONE]\n\n") && text.contains("measure"));
    assert!(!text.contains("\"choices\":[]"), "the caller asked for no such chunk");
    assert_eq!(bench.event().usage.output_tokens(), 350);
    let sent = bench.provider.requests();
    assert_eq!(
        String::from_utf8_lossy(&sent[0].body),
        r#"{"stream_options":{"include_usage":true},"model":"gpt-4o-mini","stream":true,"messages":[]}"#
    );

    // The user asked himself: nothing is added, everything is delivered.
    let text = bench.recorder.scope(bench.chat(STREAM)).await.expect("a stream");
    assert!(text.contains("\"choices\":[],"));
    assert_eq!(bench.provider.requests()[1].body, STREAM.as_bytes());
    bench.event();
}

#[tokio::test]
async fn elsewhere_or_if_told_not_to_the_request_goes_out_as_it_was_written() {
    let mut bench = Bench::new();
    let mut never = auto();
    never.stream_usage = StreamUsage::Never;
    for settings in [Settings::default(), never] {
        bench.recorder = Recorder::new().settings(settings);
        bench.recorder.scope(bench.chat(UNASKED)).await.expect("a stream");
        let event = bench.event();
        assert_eq!((event.outcome, event.cost.source), (Outcome::Ok, CostSource::Estimated));
        assert_eq!(bench.provider.requests().last().expect("a request").body, UNASKED.as_bytes());
    }
    bench.recorder = Recorder::new().settings(auto());
    for header in ["content-md5", "signature", "content-encoding"] {
        let signed =
            || bench.http.post(bench.url("/v1/chat/completions")).header(header, "x").body(UNASKED).send();
        bench.recorder.scope(async { signed().await.expect("a head").text().await }).await.expect("a stream");
        assert_eq!(bench.provider.requests().last().expect("a request").body, UNASKED.as_bytes(), "{header}");
    }
}
