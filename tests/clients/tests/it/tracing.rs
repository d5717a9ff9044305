//! `payi::tracing::layer()` on spans in the forms of rig and genai.

use std::time::Duration;

use payi::{
    Context,
    events::Outcome,
    pricing::CostSource,
    relay::Relay,
    testing::{Answer, Provider, Recorder},
    usage::Bucket,
};
use tracing::{Instrument, field::Empty, info_span};
use tracing_subscriber::layer::SubscriberExt;

use crate::bench::Bench;

pub(crate) fn listen() -> tracing::subscriber::DefaultGuard {
    tracing::subscriber::set_default(tracing_subscriber::registry().with(payi::tracing::layer()))
}

fn chat() -> tracing::Span {
    info_span!(
        "chat",
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = "openai",
        gen_ai.request.model = "gpt-4o-mini",
        gen_ai.response.model = Empty,
        gen_ai.response.id = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        error.type = Empty,
    )
}

#[tokio::test]
async fn a_span_that_describes_a_call_is_an_event_for_the_user_who_made_it() {
    let (_listening, recorder) = (listen(), Recorder::new());
    let user = |id: &'static str, input: u64| async move {
        payi::context()
            .user_id(id)
            .scope(async move {
                // Made in the scope, used up elsewhere, as streams are.
                let span = chat();
                tokio::task::yield_now().await;
                span
            })
            .await
            .in_scope(|| {
                let span = tracing::Span::current();
                span.record("gen_ai.usage.input_tokens", input);
                span.record("gen_ai.usage.output_tokens", 50_u64);
                span.record("gen_ai.usage.cache_read.input_tokens", 40_i64);
                span.record("gen_ai.response.id", "chatcmpl-1");
            });
    };
    recorder.scope(async { tokio::join!(user("ada", 100), user("bob", 200)) }).await;
    let events = recorder.take();
    assert_eq!(events.len(), 2);
    for (id, fresh) in [("ada", 60), ("bob", 160)] {
        let event = events.iter().find(|e| e.context.resolve().user_id.as_deref() == Some(id)).unwrap();
        assert_eq!((event.usage.get(Bucket::Input), event.usage.get(Bucket::CacheRead)), (fresh, 40));
        assert_eq!((event.outcome, event.cost.source), (Outcome::Ok, CostSource::Computed));
        assert_eq!((&*event.provider, event.response_id.as_deref()), ("openai", Some("chatcmpl-1")));
    }
    assert_eq!(recorder.open_calls(), 0);
}

#[tokio::test]
async fn sums_tools_and_other_spans_are_not_calls_and_failures_are_failures() {
    let (_listening, recorder) = (listen(), Recorder::new());
    recorder.run(|| {
        let agent = info_span!(
            "invoke_agent",
            gen_ai.operation.name = "invoke_agent",
            gen_ai.usage.input_tokens = 100_u64,
            gen_ai.usage.output_tokens = 50_u64
        );
        agent.in_scope(|| {
            info_span!("tool", gen_ai.operation.name = "execute_tool").in_scope(|| {});
            info_span!("something else", user = "ada").in_scope(|| {});
            chat().in_scope(|| {
                tracing::Span::current().record("error.type", "rate_limit_exceeded");
            });
        });
    });
    let [event] = &recorder.take()[..] else { panic!("one event") };
    assert_eq!((event.outcome, event.error.as_deref()), (Outcome::Failed, Some("rate_limit_exceeded")));
}

#[tokio::test]
async fn what_a_tracked_transport_counts_is_not_counted_again() {
    let (_listening, recorder) = (listen(), Recorder::new());
    let provider = Provider::start().unwrap();
    let http = payi::reqwest::Client::new();
    let url = format!("{}/v1/chat/completions", provider.url());
    let call = async {
        let body = serde_json::json!({"model": "gpt-4o-mini", "messages": []});
        http.post(&url).json(&body).send().await.unwrap().text().await.unwrap();
        tracing::Span::current().record("gen_ai.usage.input_tokens", 1_u64);
    };
    recorder.scope(async { call.instrument(chat()).await }).await;
    let [event] = &recorder.take()[..] else { panic!("one event") };
    assert_eq!((event.http_status, event.usage.input_tokens()), (Some(200), 1200));
}

#[test]
fn without_an_instrumentation_spans_are_only_spans() {
    let _listening = listen();
    chat().in_scope(|| {});
}

#[tokio::test]
async fn a_transports_own_call_beside_a_span_is_not_taken_for_the_spans() {
    let (_listening, recorder) = (listen(), Recorder::new());
    let provider = Provider::start().unwrap();
    let http = payi::reqwest::Client::new();
    let url = format!("{}/v1/chat/completions", provider.url());
    let body = serde_json::json!({"model": "gpt-4o-mini", "messages": []});
    let work = async {
        let span = chat();
        // Outside of the span, and within its time.
        let answer = http.post(&url).json(&body).send().await.unwrap();
        let late = http.post(&url).json(&body).send().await.unwrap();
        answer.text().await.unwrap();
        span.record("gen_ai.usage.output_tokens", 50_u64);
        span.record("gen_ai.response.id", "chatcmpl-of-another");
        drop(span);
        late.text().await.unwrap();
    };
    recorder.scope(work).await;
    let events = recorder.take();
    assert_eq!(events.iter().filter(|event| event.http_status == Some(200)).count(), 2);
    assert_eq!(events.iter().filter(|event| event.usage.output_tokens() == 50).count(), 1);
    assert_eq!(events.len(), 3);
}

#[tokio::test]
async fn a_span_that_closes_before_the_relay_has_ended_its_call_is_not_counted_besides() {
    let (_listening, bench) = (listen(), Bench::new());
    let slow = Answer::json(r#"{"id": "chatcmpl-1", "model": "gpt-4o-mini", "choices": [], "usage": {}}"#);
    bench.provider.next(slow.pieces(10).pause(Duration::from_millis(20)));
    let relay = Relay::to(bench.provider.url()).unwrap();
    let http = reqwest012::Client::new();
    let call = async {
        let url = format!("{}/v1/chat/completions", relay.url_for(&Context::current()));
        let span = chat();
        let answer = http.post(url).body(r#"{"model": "gpt-4o-mini", "messages": []}"#).send().await.unwrap();
        span.record("gen_ai.usage.output_tokens", 50_u64);
        span.record("gen_ai.response.id", "chatcmpl-1");
        drop(span);
        answer.text().await.unwrap();
    };
    bench.of("ada", call).await;
    assert_eq!(bench.event().await.http_status, Some(200));
}
