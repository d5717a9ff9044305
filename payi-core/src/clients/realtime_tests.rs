//! Sessions message by message, and what each response leaves.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::Session;
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
