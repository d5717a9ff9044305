//! Sessions message by message, and what each response leaves.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::Session;
#[cfg(feature = "_http")]
use crate::limits::{Limit, Policy, Subject, Unbounded, block_on};
use crate::{
    context,
    events::{Event, Outcome},
    testing::Recorder,
    usage::Bucket,
};

fn done(id: &str, status: &str, input: u64, output: u64) -> String {
    format!(
        r#"{{"type":"response.done","response":{{"id":"{id}","status":"{status}","usage":{{"total_tokens":{},"input_tokens":{input},"output_tokens":{output}}}}}}}"#,
        input + output
    )
}

/// Plays messages (`>` before those that are sent) for a user; what they leave.
fn play(url: &str, messages: &[&str]) -> Vec<Event> {
    let recorder = Recorder::new();
    recorder.run(|| {
        let mut session = context::builder().user_id("u-1").run(|| Session::begin(url));
        for message in messages {
            match message.strip_prefix('>') {
                Some(sent) => session.sent(sent),
                None => session.received(message),
            }
        }
    });
    assert_eq!(recorder.open_calls(), 0);
    recorder.take()
}

#[test]
fn each_response_is_an_event_of_its_own_and_so_is_each_transcription() {
    let (one, two) = (done("resp_1", "completed", 10, 5), done("resp_2", "cancelled", 20, 1));
    let events = play(
        "wss://api.openai.com/v1/realtime?model=gpt-realtime",
        &[
            r#"{"type":"session.updated","session":{"model":"gpt-realtime","audio":{"input":{"transcription":{"model":"gpt-4o-transcribe"}}}}}"#,
            r#"{"type":"conversation.item.input_audio_transcription.completed","usage":{"type":"tokens","input_tokens":9,"output_tokens":4,"total_tokens":13,"input_token_details":{"audio_tokens":9}}}"#,
            r#">{"type":"response.create"}"#,
            r#"{"type":"response.created","response":{"id":"resp_1"}}"#,
            r#"{"type":"response.output_audio.delta","delta":"AAAA"}"#,
            &one,
            "not JSON",
            r#"{"type":"response.created","response":{"id":"resp_2"}}"#,
            &two,
        ],
    );
    let told: Vec<_> = events
        .iter()
        .map(|e| (&*e.operation, e.request_model.as_deref().unwrap(), e.outcome, e.usage.output_tokens()))
        .collect();
    assert_eq!(
        told,
        [
            ("realtime.transcription", "gpt-4o-transcribe", Outcome::Ok, 4),
            ("realtime", "gpt-realtime", Outcome::Ok, 5),
            ("realtime", "gpt-realtime", Outcome::Aborted, 1),
        ]
    );
    assert!(events.iter().all(|e| e.context.resolve().user_id.as_deref() == Some("u-1")));
    assert_eq!(events[0].usage.get(Bucket::AudioInput), 9);
    assert_eq!((events[1].response_id.as_deref(), events[1].streamed), (Some("resp_1"), true));
    assert!(events[1].time_to_first_token.is_some());
}

#[test]
fn a_session_that_breaks_off_ends_the_response_under_way() {
    let url = "wss://generativelanguage.googleapis.com/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
    let setup = r#">{"setup":{"model":"models/gemini-live-2.5-flash"}}"#;
    let turn = r#"{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"data":"AAAA"}}]}}}"#;
    let used = r#"{"serverContent":{"turnComplete":true},"usageMetadata":{"promptTokenCount":7,"responseTokenCount":2,"totalTokenCount":9}}"#;
    let events = play(url, &[setup, turn, used, turn]);
    let told: Vec<_> = events.iter().map(|e| (&*e.provider, e.outcome, e.usage.output_tokens())).collect();
    assert_eq!(told, [("google", Outcome::Ok, 2), ("google", Outcome::Aborted, 0)]);
}

#[test]
fn without_an_instrumentation_nothing_happens() {
    let mut session = Session::begin("wss://api.openai.com/v1/realtime");
    session.received(&done("r", "completed", 1, 1));
    assert!(session.last().is_none());
}

#[cfg(feature = "_http")]
const REALTIME: &str = "wss://api.openai.com/v1/realtime?model=gpt-realtime";

#[cfg(feature = "_http")]
fn session(recorder: &Recorder) -> Session {
    recorder.run(|| context::builder().user_id("u-1").run(|| Session::begin(REALTIME)))
}

/// A limit that one response of 4,096 tokens of sound fits, and two do not.
#[cfg(feature = "_http")]
fn one_response() -> Recorder {
    Recorder::new().limit(Limit::block("l", "0.40".parse().unwrap()).each_user()).unwrap()
}

#[cfg(feature = "_http")]
#[test]
fn a_response_is_admitted_settled_and_the_next_one_refused_where_nothing_is_left() {
    let recorder = one_response();
    let (mut one, mut two) = (session(&recorder), session(&recorder));
    block_on(one.admit()).unwrap();
    block_on(one.admit()).unwrap(); // there is one next response
    let error = block_on(two.admit()).unwrap_err();
    let refusal = error.refusal().unwrap();
    // 64 tokens are heard and 4,096 spoken, at 32 and 64 dollars a million.
    assert_eq!((&*refusal.limit_id, refusal.reserved), ("l", 264_192_000_000), "{error}");

    one.received(r#"{"type":"response.created","response":{"id":"resp_1"}}"#);
    assert!(block_on(two.admit()).is_err(), "the response under way holds it");
    one.received(&done("resp_1", "completed", 10, 5));
    block_on(two.admit()).unwrap();
    drop(two); // no response has begun
    block_on(one.admit()).unwrap();
    drop(one);

    let told: Vec<_> = recorder.take().iter().map(|e| (e.outcome, e.usage.output_tokens())).collect();
    assert_eq!(told, [(Outcome::Blocked, 0), (Outcome::Blocked, 0), (Outcome::Ok, 5)]);
    let standing = recorder.limits().unwrap().standing("l", &Subject::new("u-1", "")).unwrap().unwrap();
    assert_eq!(standing.settled, 120_000_000, "10 tokens in and 5 out, as the response said");
}

#[cfg(feature = "_http")]
#[test]
fn what_is_reserved_grows_with_the_session_and_keeps_to_its_maximum() {
    let recorder = one_response();
    let (mut long, mut other) = (session(&recorder), session(&recorder));
    long.received(r#"{"type":"session.updated","session":{"model":"gpt-realtime","max_output_tokens":100}}"#);
    long.received(&done("resp_1", "completed", 5_000, 100));
    block_on(long.admit()).unwrap();
    let refused = block_on(other.admit()).unwrap_err();
    // 5,164 tokens of what was said, and 100 to be spoken.
    assert_eq!(refused.refusal().unwrap().reserved, 171_648_000_000, "{refused}");
    drop(long);

    other.received(r#"{"type":"session.updated","session":{"max_output_tokens":"inf"}}"#);
    block_on(other.admit()).unwrap();
    other.received(r#"{"type":"response.created","response":{"id":"resp_2"}}"#);
    drop(other);
    let last = recorder.take().pop().unwrap();
    assert_eq!((last.outcome, last.cost.amount.pico()), (Outcome::Aborted, 264_192_000_000), "as reserved");
}

/// Nobody can say what a response will cost, so a limit that must never be overspent refuses it.
#[cfg(feature = "_http")]
#[test]
fn a_strict_limit_refuses_a_session_that_asks_and_charges_one_that_does_not() {
    for policy in [Policy::Strict, Policy::InjectMaxTokens] {
        let limit = Limit::block("l", "100".parse().unwrap()).policy(policy).everyone();
        let recorder = Recorder::new().limit(limit).unwrap();
        let mut session = session(&recorder);
        let error = block_on(session.admit()).unwrap_err();
        assert_eq!(error.refusal().unwrap().unbounded, Some(Unbounded::Kept));
        session.received(&done("resp_1", "completed", 1_000_000, 0));
        let standing = recorder.limits().unwrap().standing("l", &Subject::default()).unwrap().unwrap();
        assert_eq!(standing.settled, 4_000_000_000_000);
    }
}

#[cfg(feature = "_http")]
#[test]
fn a_session_may_be_admitted_on_any_thread_and_without_an_instrumentation() {
    fn send<F: Future + Send>(future: F) -> F {
        future
    }
    block_on(send(Session::begin(REALTIME).admit())).unwrap();
}
