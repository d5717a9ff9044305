//! Recorded realtime sessions, message by message.

use std::{fs, path::Path, time::UNIX_EPOCH};

use payi::{
    events::{Event, Outcome},
    money::Money,
    pricing::{CostSource, PriceBook},
};
use payi_core::clients::Recording;
use serde_json::Value;

use super::{Count, PRICED_AT, own, tables::TOTALS};

/// What xAI charges for an hour that it says is to be billed, in pico-dollars.
const VOICES: [(&str, i128); 2] =
    [("grok-voice-think-fast-1.0", 3_000_000_000_000), ("grok-voice-latest", 4_800_000_000_000)];

/// What OpenAI and Azure charge for gpt-realtime, in pico-dollars a token: text in, cached, out; audio in, cached, out.
const RATES: [(&str, i128); 6] = [
    ("text", 4_000_000),
    ("text_cached", 400_000),
    ("text_out", 16_000_000),
    ("audio", 32_000_000),
    ("audio_cached", 400_000),
    ("audio_out", 64_000_000),
];

/// What came of the sessions: how many, how many responses, how many of those have a price, and a price by hand.
#[derive(Default)]
pub(super) struct Sessions {
    pub(super) all: usize,
    pub(super) responses: usize,
    pub(super) priced: usize,
    pub(super) by_hand: usize,
}

/// Replays every session and checks each response.
pub(super) fn sessions(corpus: &Path, count: &mut Count) -> Sessions {
    let mut found = Sessions::default();
    let mut names: Vec<_> =
        fs::read_dir(corpus.join("realtime")).expect("readable").flatten().map(|file| file.path()).collect();
    names.sort();
    for path in names {
        let name = format!("realtime/{}", path.file_name().expect("a name").to_string_lossy());
        let text = fs::read_to_string(&path).expect("readable");
        let recorded: Value = serde_json::from_str(&text).expect("JSON");
        let replayed = Recording::read(&text)
            .and_then(|recording| recording.replay(PriceBook::embedded(), UNIX_EPOCH + PRICED_AT));
        let events = replayed.expect("a session");
        found.all += 1;
        count.check(&name, events.len() == expected(&recorded), "a response without an event");
        let tokens: u64 = events.iter().map(|e| e.usage.input_tokens() + e.usage.output_tokens()).sum();
        let excepted = TOTALS.iter().any(|(file, _)| *file == name);
        count.check(
            &name,
            excepted != (own::total(&recorded) == Some(tokens)),
            "not the provider's own total",
        );
        count.excepted += usize::from(excepted);
        for event in &events {
            let priced = event.cost.source != CostSource::Unpriced;
            let known = event.response_model.is_some() || event.request_model.is_some();
            count.check(&name, event.outcome == Outcome::Ok && !event.usage_suspect, "failed, or suspect");
            count.check(&name, !event.usage.is_empty(), "no usage");
            count.check(&name, priced == known, "priced, or not, against what is known");
            (found.responses, found.priced) = (found.responses + 1, found.priced + usize::from(priced));
        }
        if let Some((_, hour)) = VOICES.iter().find(|(model, _)| recorded["model"] == *model) {
            let whole: Money = responses(&events).map(|e| e.cost.amount).sum();
            let hand: i128 = billable(&recorded).map(|seconds| (seconds * hour + 1_800) / 3_600).sum();
            count.check(
                &name,
                whole.pico() == hand,
                &format!("{whole} USD, by hand {}", Money::from_pico(hand)),
            );
            found.by_hand += 1;
        }
        if recorded["model"] == "gpt-realtime" || recorded["model"] == "gpt-realtime-global-standard" {
            let whole: Money = responses(&events).map(|e| e.cost.amount).sum();
            let hand: i128 = frames(&recorded).map(by_hand).sum();
            count.check(
                &name,
                whole.pico() == hand,
                &format!("{whole} USD, by hand {}", Money::from_pico(hand)),
            );
            found.by_hand += 1;
        }
    }
    found
}

/// Messages that bill something: responses, Gemini's usages, and transcriptions that say how long they were.
fn expected(recorded: &Value) -> usize {
    let frames = recorded["frames"].as_array().expect("frames").iter().map(|frame| &frame["event"]);
    let bills = |event: &&Value| {
        event["type"] == "response.done"
            || event["usageMetadata"].is_object()
            || (event["type"].as_str().is_some_and(|t| t.ends_with("transcription.completed"))
                && event["usage"].is_object())
    };
    frames.filter(bills).count()
}

fn responses(events: &[Event]) -> impl Iterator<Item = &Event> {
    events.iter().filter(|event| &*event.operation == "realtime")
}

fn frames(recorded: &Value) -> impl Iterator<Item = &Value> {
    let frames = recorded["frames"].as_array().expect("frames").iter();
    frames.map(|frame| &frame["event"]["response"]["usage"]).filter(|usage| usage.is_object())
}

/// The whole seconds that xAI says are to be billed.
fn billable(recorded: &Value) -> impl Iterator<Item = i128> {
    let frames = recorded["frames"].as_array().expect("frames").iter();
    frames.filter_map(|frame| frame["event"]["usage"]["billable_audio_seconds"].as_u64()).map(i128::from)
}

/// What a response costs, from its own counts and the published prices.
fn by_hand(usage: &Value) -> i128 {
    let n = |value: &Value| i128::from(value.as_u64().unwrap_or(0));
    let (read, wrote) = (&usage["input_token_details"], &usage["output_token_details"]);
    let cached = &read["cached_tokens_details"];
    let counts = [
        n(&read["text_tokens"]) - n(&cached["text_tokens"]),
        n(&cached["text_tokens"]),
        n(&wrote["text_tokens"]),
        n(&read["audio_tokens"]) - n(&cached["audio_tokens"]),
        n(&cached["audio_tokens"]),
        n(&wrote["audio_tokens"]),
    ];
    counts.iter().zip(RATES).map(|(count, (_, pico))| count * pico).sum()
}
