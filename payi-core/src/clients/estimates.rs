//! How near estimates are: recorded streams that say their usage, beside what would be estimated without it; and
//! streams that end early.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests, which show their figures"
)]

use std::{fs, path::Path, time::SystemTime};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Recording,
    detect::detect,
    recording::{self, Recorded},
};
use crate::{
    events::{Event, Outcome},
    pricing::{CostSource, PriceBook},
    usage::{Api, Bucket, Meter, Reading, sample::Prompt},
};

/// What a stream said, and what its text was estimated to be.
fn measured(api: Api, answered: &Recorded) -> (Reading, u64) {
    let mut meter = match &*answered.content_type {
        kind if kind.starts_with("text/event-stream") => Meter::sse(api),
        kind if kind.contains("eventstream") => Meter::aws(api),
        _ => Meter::lines(api),
    };
    answered.body.chunks(700).for_each(|piece| meter.push(piece));
    let sample = meter.sample();
    (meter.finish(), sample.tokens())
}

/// The middle one, and the one that nine tenths do not exceed.
fn spread(mut all: Vec<f64>) -> (f64, f64) {
    all.sort_by(f64::total_cmp);
    let at = |share: usize| all.get(all.len() * share / 10).copied().unwrap_or(0.0);
    (at(5), at(9))
}

/// How far off, as a share of what it is.
#[allow(clippy::cast_precision_loss, reason = "counts of tokens")]
fn off(estimated: u64, said: u64) -> f64 {
    (estimated as f64 - said as f64).abs() / said as f64
}

#[test]
fn estimates_are_near_what_recorded_streams_say() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let Ok(folders) = fs::read_dir(&corpus) else {
        eprintln!("SKIPPED: {} is missing", corpus.display());
        return;
    };
    #[cfg(feature = "tokenizer")]
    crate::usage::load_tokenizer();
    let (mut output, mut input) = (Vec::new(), Vec::new());
    for file in folders.flatten().filter_map(|folder| fs::read_dir(folder.path()).ok()).flatten().flatten() {
        let recorded = recording::parse(&fs::read_to_string(file.path()).unwrap()).unwrap();
        if recorded["stream"] != true || recorded["response"]["status"] != 200 {
            continue;
        }
        let url = recorded["request"]["url"].as_str().unwrap();
        let path = url.splitn(4, '/').nth(3).unwrap().split('?').next().unwrap();
        let api = detect("POST", "h", &format!("/{path}")).api;
        let (reading, written) = measured(api, &Recorded::read(&recorded["response"]).unwrap());
        let Some(usage) = reading.usage.filter(|_| reading.error.is_none()) else { continue };
        // Thoughts are counted and not shown; what tools read is in no request.
        let hidden =
            usage.get(Bucket::Reasoning) + usage.get(Bucket::AudioOutput) + usage.get(Bucket::WebSearches);
        if hidden == 0 && usage.output_tokens() >= 20 {
            output.push(off(written, usage.output_tokens()));
        }
        let text = usage.get(Bucket::ImageInput) + usage.get(Bucket::AudioInput) == 0;
        let body = recorded["request"]["body"].to_string();
        // What tools of the provider read, and how it words those of the caller, is in no request.
        let own = !body.contains("\"tools\"")
            && !body.contains("toolConfig")
            && !body.contains("previous_response_id");
        if text && own && usage.input_tokens() >= 20 {
            input.push(off(Prompt::of(body.as_bytes()).tokens(), usage.input_tokens()));
        }
    }
    let (outputs, inputs) = (output.len(), input.len());
    let ((output, output_most), (input, input_most)) = (spread(output), spread(input));
    println!(
        "evidence estimates: of {outputs} recorded streams the tokens written are estimated within {:.0} % in the middle and {:.0} % in nine of \
         ten; of {inputs} requests without tools the tokens read within {:.0} % and {:.0} %",
        output * 100.0,
        output_most * 100.0,
        input * 100.0,
        input_most * 100.0,
    );
    assert!(outputs > 40 && inputs > 40 && output < 0.2 && input < 0.5);
}

/// A stream, cut after so many bytes of its answer; how it looks to a caller who stops there.
fn cut(url: &str, request: &Value, answer: &str, at: usize) -> Event {
    let recording = json!({
        "request": {"method": "POST", "url": url, "body": request},
        "response": {"status": 200, "headers": {"content-type": "text/event-stream"}, "body_text": answer},
    });
    let recording = Recording::read(&recording.to_string()).unwrap();
    let mut events = recording.replay_until(at, PriceBook::embedded(), SystemTime::now()).unwrap();
    events.remove(0)
}

fn chat(pieces: usize) -> String {
    let piece = |text: &str| json!({"id": "c", "model": "gpt-4o", "choices": [{"delta": {"content": text}}]});
    format!("data: {}\n\n", piece("one two three four five six seven eight ")).repeat(pieces)
}

#[test]
fn a_stream_that_ends_early_is_estimated_by_what_was_seen_and_asked() {
    let request = json!({"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "Count. ".repeat(100)}]});
    let url = "https://api.openai.com/v1/chat/completions";
    let (short, long) = (chat(20), chat(2_000));
    let event = cut(url, &request, &long, short.len());
    assert_eq!(
        (event.outcome, event.usage_estimated, event.cost.source),
        (Outcome::Aborted, true, CostSource::Estimated)
    );
    assert!((150..=270).contains(&event.usage.output_tokens()), "{:?}", event.usage);
    assert!((180..=230).contains(&event.usage.input_tokens()), "{:?}", event.usage);
    assert!(event.cost.known().is_some());
    // Fifty times as long, and no more is kept.
    let more = cut(url, &request, &long, long.len() - 1);
    assert!((15_000..=26_000).contains(&more.usage.output_tokens()), "{:?}", more.usage);
    // To its end, and nothing said.
    let whole = cut(url, &request, &short, usize::MAX);
    assert_eq!((whole.outcome, whole.usage_estimated), (Outcome::Ok, true));
    assert!((140..=210).contains(&whole.usage.output_tokens()), "{:?}", whole.usage);
}

#[test]
fn a_document_without_its_end_is_estimated_by_what_came_and_by_how_long_it_is() {
    let text = "one two three four five six seven eight ".repeat(100);
    let body = json!({"id": "c", "model": "gpt-4o", "choices": [{"message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 210, "completion_tokens": 800, "total_tokens": 1_010}});
    let event = |body: &Value, url: &str, until: usize| {
        let body = body.to_string();
        let recording = json!({
            "request": {"method": "POST", "url": url, "body": {"model": "gpt-4o", "messages": [{"role": "user", "content": "Count. ".repeat(100)}]}},
            "response": {"status": 200, "headers": {"content-type": "application/json"}, "body_text": body},
        });
        let recording = Recording::read(&recording.to_string()).unwrap();
        recording.replay_until(until, PriceBook::embedded(), SystemTime::now()).unwrap().remove(0)
    };
    let chat = "https://api.openai.com/v1/chat/completions";
    let cut = event(&body, chat, 1_400);
    assert_eq!((cut.outcome, cut.usage_estimated, cut.usage_suspect), (Outcome::Aborted, true, true));
    assert!((180..=230).contains(&cut.usage.input_tokens()), "{:?}", cut.usage);
    assert!((200..=400).contains(&cut.usage.output_tokens()), "{:?}", cut.usage);
    assert_eq!(cut.cost.source, CostSource::Estimated);
    // What has been said before the end is taken as it was said.
    let whole = event(&body, chat, usize::MAX);
    assert_eq!((whole.usage.output_tokens(), whole.usage_estimated), (800, false));
    // Of pictures, and of what nobody knows, a text says nothing.
    let picture = event(
        &json!({"data": [{"b64_json": "A".repeat(9_000)}]}),
        "https://api.openai.com/v1/images/generations",
        1_400,
    );
    let whole = picture.usage.iter().collect::<Vec<_>>();
    assert_eq!(
        (picture.usage_estimated, whole),
        (false, vec![(Bucket::Images, 1)]),
        "told by the request alone"
    );
    let unknown = event(&body, "https://example.org/pay", 1_400);
    assert!(!unknown.usage_estimated);
}

#[test]
fn speech_is_billed_by_what_is_to_be_spoken() {
    let recording = |status: u16| {
        json!({"request": {"method": "POST", "url": "https://api.openai.com/v1/audio/speech",
                   "body": {"model": "tts-1", "input": "Grüße an alle", "voice": "alloy"}},
               "response": {"status": status, "headers": {"content-type": "audio/mpeg"}, "body_text": "SUQz"}})
    };
    let replay = |status| {
        let recording = Recording::read(&recording(status).to_string()).unwrap();
        recording.replay(PriceBook::embedded(), SystemTime::now()).unwrap().remove(0)
    };
    let event = replay(200);
    assert_eq!((event.usage.get(Bucket::Characters), event.cost.source), (13, CostSource::Computed));
    assert_eq!(event.cost.amount.to_string(), "0.000195");
    let refused = replay(400);
    assert!(refused.usage.is_empty() && refused.cost.amount.pico() == 0);
}

#[test]
fn pictures_without_tokens_are_billed_by_the_piece_and_by_their_size() {
    let event = |body: Value, answer: Value| {
        let recording = json!({"request": {"method": "POST", "url": "https://api.openai.com/v1/images/generations", "body": body},
            "response": {"status": 200, "headers": {"content-type": "application/json"}, "body": answer}});
        let recording = Recording::read(&recording.to_string()).unwrap();
        recording.replay(PriceBook::embedded(), SystemTime::now()).unwrap().remove(0)
    };
    let made = json!({"created": 1, "data": [{"url": "https://x/1.png"}]});
    for (request, n, usd, source) in [
        (json!({"model": "dall-e-3", "prompt": "a cat"}), 1, "0.04", CostSource::Computed),
        (
            json!({"model": "dall-e-3", "size": "1024x1024", "quality": "standard"}),
            1,
            "0.04",
            CostSource::Computed,
        ),
        (json!({"model": "dall-e-3", "size": "1792x1024"}), 1, "0.08", CostSource::Computed),
        (json!({"model": "dall-e-3", "quality": "hd"}), 1, "0.08", CostSource::Computed),
        (json!({"model": "dall-e-3", "size": "1024x1792", "quality": "hd"}), 1, "0.12", CostSource::Computed),
        (json!({"model": "dall-e-2", "n": 3, "size": "512x512"}), 3, "0.054", CostSource::Computed),
        (json!({"model": "dall-e-2", "size": "7x7"}), 1, "0.02", CostSource::Estimated),
    ] {
        let event = event(request, made.clone());
        assert_eq!(event.usage.get(Bucket::Images), n);
        assert_eq!((&*event.cost.amount.to_string(), event.cost.source), (usd, source));
    }
    // A model that counts tokens says so, and its size is in them.
    let usage = json!({"input_tokens": 10, "output_tokens": 1_056, "total_tokens": 1_066, "input_tokens_details": {"text_tokens": 10}});
    let tokens =
        event(json!({"model": "gpt-image-1", "size": "1024x1024"}), json!({"data": [], "usage": usage}));
    assert_eq!((tokens.usage.get(Bucket::Images), tokens.usage.get(Bucket::ImageOutput)), (0, 1_056));
    assert_eq!((tokens.cost.source, tokens.service_tier), (CostSource::Computed, None));
}

#[test]
fn what_a_broken_stream_has_said_is_not_estimated() {
    let begun = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"claude-sonnet-4-5\",\"usage\":{\"input_tokens\":1234,",
        "\"cache_read_input_tokens\":5,\"output_tokens\":2}}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"one two three four five six\"}}\n\n",
    );
    let request = json!({"model": "claude-sonnet-4-5", "stream": true, "messages": []});
    let event = cut("https://api.anthropic.com/v1/messages", &request, begun, begun.len() - 1);
    assert_eq!((event.usage.get(Bucket::Input), event.usage.get(Bucket::CacheRead)), (1234, 5));
    assert!((5..=8).contains(&event.usage.output_tokens()), "{:?}", event.usage);
    assert!(event.usage_estimated);
    // An answer that is whole, and says nothing, is not estimated.
    let plain = Bytes::from_static(b"{\"model\":\"gpt-4o\",\"choices\":[]}");
    let recording = json!({"request": {"method": "POST", "url": "https://api.openai.com/v1/chat/completions", "body": {"model": "gpt-4o"}},
        "response": {"status": 200, "body": serde_json::from_slice::<Value>(&plain).unwrap()}});
    let events = Recording::read(&recording.to_string())
        .unwrap()
        .replay(PriceBook::embedded(), SystemTime::now())
        .unwrap();
    assert_eq!((events[0].usage_estimated, events[0].cost.source), (false, CostSource::Unpriced));
}
