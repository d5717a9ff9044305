//! The meter on streams and documents split anywhere, cut short, oversized or not what they claim.

#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::Meter;
use crate::usage::{Api, Bucket, Reading};

const CHAT: &str = concat!(
    ": PROCESSING\r\n\r\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o-mini\",\"service_tier\":\"default\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"}}],\"usage\":null}\r\n\r\n",
    "data: {\"id\":\"chatcmpl-1\",\"model\":\"gpt-4o-mini\",\"choices\":[{\"delta\":{\"content\":\"Größe \\\"usage\\\":{\\\"prompt_tokens\\\":9} 漢字\"}}],\"usage\":null}\r\n\r\n",
    "data: {\"id\":\"chatcmpl-1\",\"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\r\n\r\n",
    "data: [DONE]\r\n\r\n",
);

const MESSAGES: &str = concat!(
    "event: message_start\n",
    "data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"model\":\"claude-sonnet-4-6\",\"usage\":{\"input_tokens\":20,\"cache_creation_input_tokens\":7,\"cache_creation\":{\"ephemeral_1h_input_tokens\":7},\"output_tokens\":1}}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"é\"}}\n\n",
    "event: message_delta\n",
    "data: {\"type\":\"message_delta\",\"usage\":{\"input_tokens\":22,\"cache_creation_input_tokens\":null,\"output_tokens\":9}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

fn stream(api: Api, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> (Reading, bool) {
    let mut meter = Meter::sse(api);
    pieces.into_iter().for_each(|piece| meter.push(piece.as_ref()));
    let complete = meter.is_complete();
    (meter.finish(), complete)
}

fn counts(reading: &Reading) -> Vec<(Bucket, u64)> {
    reading.usage.unwrap().iter().collect()
}

#[test]
fn fault_31_a_stream_reads_the_same_wherever_it_is_split() {
    for (api, text, expected) in [
        (Api::Chat, CHAT, vec![(Bucket::Input, 6), (Bucket::CacheRead, 4), (Bucket::Output, 5)]),
        (Api::Messages, MESSAGES, vec![(Bucket::Input, 22), (Bucket::CacheWrite1h, 7), (Bucket::Output, 9)]),
    ] {
        let (whole, complete) = stream(api, [text]);
        assert!(complete && !whole.malformed && !whole.inconsistent, "{whole:?}");
        assert_eq!(counts(&whole), expected);
        for at in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            assert_eq!(stream(api, [head, tail]), (whole.clone(), true), "split at {at}");
        }
        assert_eq!(stream(api, text.as_bytes().chunks(1)), (whole.clone(), true));
        assert_eq!(stream(api, [text.replace("\r\n", "\n")]), (whole, true));
    }
}

#[test]
fn a_stream_that_stops_early_keeps_what_it_said() {
    for at in 0..MESSAGES.len() - 2 {
        let (reading, complete) = stream(Api::Messages, [&MESSAGES.as_bytes()[..at]]);
        assert!(!complete || at > MESSAGES.len() - 10, "at {at}");
        if at > MESSAGES.find("event: ping").unwrap() {
            assert_eq!(reading.response_id.as_deref(), Some("msg_1"));
            assert!(reading.usage.unwrap().get(Bucket::Input) >= 20);
        }
    }
}

#[test]
fn a_usage_far_behind_and_events_of_any_length_are_found_in_bounded_memory() {
    let filler =
        "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"delta\":{\"content\":\"Hello\"}}],\"usage\":null}\n\n";
    let long = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}],", "x".repeat(3_000_000));
    for usage in [
        "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n",
        "\"usage\" : {\"prompt_tokens\":3,\"completion_tokens\":4}}\r\n\r\n",
    ] {
        let text = [
            &CHAT[..400],
            "\n\n",
            &filler.repeat(2_000),
            &long,
            usage,
            &filler.repeat(500),
            "data: [DONE]\n\n",
        ]
        .concat();
        for size in [200, 999, 65_536, 5_000_000] {
            let mut meter = Meter::sse(Api::Chat);
            for piece in text.as_bytes().chunks(size) {
                meter.push(piece);
                if let super::Kind::Sse(sse) = &meter.kind {
                    assert!(sse.held() < 700_000, "holds {}", sse.held());
                }
            }
            assert!(meter.is_complete());
            assert_eq!(
                counts(&meter.finish()),
                [(Bucket::Input, 3), (Bucket::Output, 4)],
                "pieces of {size}"
            );
        }
    }
}

#[test]
fn an_error_in_a_stream_ends_it() {
    let overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n";
    let (reading, complete) = stream(Api::Messages, [&MESSAGES[..400], "\n\n", overloaded]);
    assert_eq!((reading.error.as_deref(), complete), (Some("overloaded_error"), true));
}

#[test]
fn responses_say_everything_in_their_last_event_and_searches_are_counted() {
    let text = concat!(
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"model\":\"gpt-5\",\"status\":\"in_progress\",\"error\":null,\"usage\":null}}\n\n",
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n",
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"model\":\"gpt-5\",\"service_tier\":\"flex\",\"output\":[{\"action\":{\"type\":\"search\"},\"type\":\"web_search_call\"},{\"type\":\"web_search_call\",\"action\":{\"type\":\"open_page\"}},{\"type\":\"file_search_call\"}],\"usage\":{\"input_tokens\":30,\"output_tokens\":8,\"total_tokens\":38,\"output_tokens_details\":{\"reasoning_tokens\":2}}}}\n\n",
    );
    let (reading, complete) = stream(Api::Responses, text.as_bytes().chunks(7));
    assert!(complete && reading.error.is_none());
    assert_eq!(reading.service_tier.as_deref(), Some("flex"));
    assert_eq!(
        counts(&reading),
        [
            (Bucket::Input, 30),
            (Bucket::Output, 6),
            (Bucket::Reasoning, 2),
            (Bucket::WebSearches, 1),
            (Bucket::FileSearches, 1)
        ]
    );
}

#[test]
fn groq_says_its_usage_twice_and_it_counts_once() {
    let text = "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{}],\"x_groq\":{\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6,\"total_tokens\":11}}}\n\ndata: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6,\"total_tokens\":11}}\n\ndata: [DONE]\n\n";
    let (reading, _) = stream(Api::Chat, [text]);
    assert_eq!(counts(&reading), [(Bucket::Input, 5), (Bucket::Output, 6)]);
}

#[test]
fn sound_says_its_usage_in_its_last_event_or_by_its_length() {
    let told = |api, text: &str| counts(&stream(api, [text]).0);
    let spoken = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"AAAA\"}\n\ndata: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":101,\"total_tokens\":115}}\n\n";
    assert_eq!(told(Api::Audio, spoken), [(Bucket::Input, 14), (Bucket::Output, 101)]);
    let written = "data: {\"type\":\"transcript.text.done\",\"text\":\"x\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"input_token_details\":{\"text_tokens\":10,\"audio_tokens\":4},\"output_tokens\":5,\"total_tokens\":19}}\n\n";
    assert_eq!(
        told(Api::Audio, written),
        [(Bucket::Input, 10), (Bucket::AudioInput, 4), (Bucket::Output, 5)]
    );
    let mut meter = Meter::json(Api::Audio);
    meter.push(br#"{"task":"transcribe","duration":8.470000267028809,"text":"x"}"#);
    assert_eq!(counts(&meter.finish()), [(Bucket::AudioMillis, 8470)]);
    let mut meter = Meter::json(Api::Images);
    meter.push(br#"{"data":[{"b64_json":"AAAA"}],"usage":{"input_tokens":50,"output_tokens":272,"total_tokens":322,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}"#);
    assert_eq!(
        counts(&meter.finish()),
        [(Bucket::Input, 10), (Bucket::ImageInput, 40), (Bucket::ImageOutput, 272)]
    );
}

#[test]
fn what_is_not_an_answer_is_marked_and_nothing_more() {
    for body in [
        "",
        "<html>oops</html>",
        "{\"usage\":",
        "{\"usage\":7}",
        "{\"usage\":{\"prompt_tokens\":{}}}",
        "null",
    ] {
        let mut meter = Meter::json(Api::Chat);
        meter.push(body.as_bytes());
        let reading = meter.finish();
        assert!(body.is_empty() || reading.malformed || reading.inconsistent, "{body}: {reading:?}");
    }
    let (reading, _) = stream(Api::Chat, ["<html>oops</html>"]);
    assert!(reading.malformed);
}

proptest! {
    #[test]
    fn bytes_of_any_kind_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        at in any::<prop::sample::Index>(),
        noise in any::<u8>(),
        cut in 1_usize..300,
    ) {
        for api in [Api::Chat, Api::Messages, Api::Responses, Api::Gemini, Api::Unknown] {
            stream(api, bytes.chunks(cut));
            let mut meter = Meter::json(api);
            bytes.chunks(cut).for_each(|piece| meter.push(piece));
            meter.finish();
            #[cfg(feature = "compression")]
            for encoding in ["gzip", "deflate", "br", "zstd"] {
                let mut meter = Meter::packed(Meter::sse(api), encoding).unwrap();
                bytes.chunks(cut).for_each(|piece| meter.push(piece));
                meter.is_complete();
                meter.finish();
            }
            for mut meter in [Meter::lines(api), Meter::aws(api)] {
                bytes.chunks(cut).for_each(|piece| meter.push(piece));
                meter.is_complete();
                meter.sample().tokens();
                meter.finish();
            }
            // One byte wrong in a real one.
            let mut text = MESSAGES.as_bytes().to_vec();
            let at = at.index(text.len());
            text[at] = noise;
            stream(api, text.chunks(cut));
        }
    }
}
