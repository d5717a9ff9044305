//! Usage in OpenAI's form, which most hosts speak: the totals contain their parts, mostly.
//!
//! Where a host's parts lie outside its totals (reasoning at xAI's chat, audio at Mistral), the sum of
//! all decides: `total_tokens` is the one number that everybody computes for the bill.

use crate::usage::{
    Api, Bucket, Reading, Usage,
    answer::{count, inner, is_no_count, number},
    tree::{Object, Value},
};

/// Reads the `usage` of chat completions, responses, embeddings, images and transcriptions.
pub(crate) fn read(api: Api, usage: Object<'_>, reading: &mut Reading) {
    let totals =
        usage.all(["prompt_tokens", "input_tokens", "completion_tokens", "output_tokens", "total_tokens"]);
    let [prompt, input, completion, output, total] = totals;
    let total = total.map_or(0, number);
    let (asked, answered) = (prompt.or(input), completion.or(output));
    // Rerankers and some embedders say nothing but the total.
    let prompt = if asked.is_none() && answered.is_none() { total } else { asked.map_or(0, number) };
    let completion = answered.map_or(0, number);
    let details = |names: [&str; 3]| usage.all(names).map(|found| found.and_then(Value::as_object));
    let detail = |objects: &[Option<Object<'_>>], key: &str| {
        objects.iter().flatten().map(|object| count(*object, key)).find(|&n| n > 0).unwrap_or(0)
    };
    let of_input = details(["prompt_tokens_details", "input_tokens_details", "input_token_details"]);
    let of_output = details(["completion_tokens_details", "output_tokens_details", "output_token_details"]);
    let read = |key| detail(&of_input, key);
    let wrote = |key| detail(&of_output, key);

    let mut reasoning = match wrote("reasoning_tokens") {
        0 => count(usage, "reasoning_tokens"),
        reasoning => reasoning,
    };
    let audio = read("audio_tokens");
    let mut inconsistent = totals.into_iter().flatten().any(is_no_count);

    // The test of the total: what is left over must be a part that was not counted in.
    let rest = total.saturating_sub(prompt.saturating_add(completion));
    let (mut input, mut output) = (prompt, completion);
    match rest {
        0 => inconsistent |= total > 0 && total < prompt.saturating_add(completion),
        rest if rest == reasoning => output = output.saturating_add(reasoning),
        rest if rest == audio => input = input.saturating_add(audio),
        rest if rest == reasoning.saturating_add(audio) => {
            output = output.saturating_add(reasoning);
            input = input.saturating_add(audio);
        }
        // Gemini thinks without saying so in this form, and bills it as output.
        rest if reading.model.as_deref().is_some_and(|model| model.contains("gemini")) => {
            output = output.saturating_add(rest);
            reasoning = reasoning.saturating_add(rest);
        }
        _ => inconsistent = true,
    }

    let cached = match read("cached_tokens") {
        0 => usage
            .all(["cached_tokens", "prompt_cache_hit_tokens", "num_cached_tokens"])
            .into_iter()
            .flatten()
            .map(number)
            .find(|&n| n > 0)
            .unwrap_or(0),
        cached => cached,
    };
    // Realtime sessions split what was cached by its kind.
    let [.., session] = of_input;
    let nested_cached = |key| session.map_or(0, |details| inner(details, "cached_tokens_details", key));
    let parts = Parts {
        cached,
        cached_audio: nested_cached("audio_tokens"),
        cached_image: nested_cached("image_tokens"),
        written: read("cache_write_tokens"),
        audio,
        image: read("image_tokens"),
        video: read("video_tokens"),
    };
    let mut counted = Usage::new();
    inconsistent |= split_input(&mut counted, input, parts);
    let images = match wrote("image_tokens") {
        0 if api == Api::Images && wrote("text_tokens") == 0 => output,
        images => images,
    };
    inconsistent |= split_output(&mut counted, output, reasoning, wrote("audio_tokens"), images);

    let [seconds, heard, voiced] = usage.all(["seconds", "prompt_audio_seconds", "billable_audio_seconds"]);
    // Mistral bills sound by its length; its tokens are then no tokens of anybody's bill.
    let heard = heard.filter(|seconds| seconds.as_f64().is_some());
    if heard.is_some() {
        counted.set(Bucket::AudioInput, 0);
    }
    // xAI bills its voices by the time that it says is to be billed.
    if let Some(seconds) = seconds.or(heard).or(voiced).and_then(Value::as_f64).filter(|s| *s >= 0.0) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, which is meant"
        )]
        counted.set(Bucket::AudioMillis, (seconds * 1000.0).round() as u64);
    }
    reading.inconsistent |= inconsistent;
    reading.usage = Some(counted);
}

#[derive(Clone, Copy)]
struct Parts {
    cached: u64,
    cached_audio: u64,
    cached_image: u64,
    written: u64,
    audio: u64,
    image: u64,
    video: u64,
}

/// Splits `total` so that no token is in two buckets; says whether it had to clamp.
fn split_input(counted: &mut Usage, total: u64, parts: Parts) -> bool {
    let mut left = total;
    let mut clamped = false;
    let mut take = |n: u64, clamped: &mut bool| {
        let taken = n.min(left);
        *clamped |= taken < n;
        left -= taken;
        taken
    };
    let cached_audio = parts.cached_audio.min(parts.audio).min(parts.cached);
    let cached_image = parts.cached_image.min(parts.image).min(parts.cached - cached_audio);
    let mut cached = take(parts.cached - cached_audio - cached_image, &mut clamped);
    let mut cached_audio = take(cached_audio, &mut clamped);
    let cached_image = take(cached_image, &mut clamped);
    let written = take(parts.written, &mut clamped);
    let image = take(parts.image - cached_image, &mut clamped);
    let video = take(parts.video, &mut clamped);
    let fresh_audio = parts.audio - cached_audio;
    let mut overlaps = false;
    let audio = take(fresh_audio, &mut overlaps);
    if overlaps {
        // More audio than fresh tokens: the rest of it was read from the cache.
        let from_cache = (fresh_audio - audio).min(cached);
        clamped |= from_cache < fresh_audio - audio;
        cached -= from_cache;
        cached_audio += from_cache;
    }
    for (bucket, n) in [
        (Bucket::Input, left),
        (Bucket::CacheRead, cached),
        (Bucket::CacheWrite, written),
        (Bucket::AudioInput, audio),
        (Bucket::AudioCacheRead, cached_audio),
        (Bucket::ImageInput, image),
        (Bucket::ImageCacheRead, cached_image),
        (Bucket::VideoInput, video),
    ] {
        counted.set(bucket, n);
    }
    clamped
}

/// The same for what the model wrote.
fn split_output(counted: &mut Usage, total: u64, reasoning: u64, audio: u64, image: u64) -> bool {
    let reasoned = reasoning.min(total);
    let sounded = audio.min(total - reasoned);
    let drawn = image.min(total - reasoned - sounded);
    counted.set(Bucket::Reasoning, reasoned);
    counted.set(Bucket::AudioOutput, sounded);
    counted.set(Bucket::ImageOutput, drawn);
    counted.set(Bucket::Output, total - reasoned - sounded - drawn);
    reasoned < reasoning || sounded < audio || drawn < image
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::panic, reason = "tests")]

    use serde_json::json;

    use super::read;
    use crate::usage::{Api, Bucket, Reading, tree::Tree};

    fn buckets(usage: &serde_json::Value) -> (Vec<(Bucket, u64)>, bool) {
        let mut reading = Reading::default();
        let json = usage.to_string();
        let tree = Tree::read(json.as_bytes()).expect("JSON");
        read(Api::Chat, tree.object().expect("an object"), &mut reading);
        (reading.usage.expect("counted").iter().collect(), reading.inconsistent)
    }

    #[test]
    fn parts_are_inside_or_outside_the_totals_as_the_sum_of_all_says() {
        use Bucket::{AudioCacheRead, AudioInput, CacheRead, CacheWrite, Input, Output, Reasoning};
        for (usage, expected, inconsistent) in [
            // OpenAI: everything inside.
            (
                json!({"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130,
                       "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 6, "audio_tokens": null},
                       "completion_tokens_details": {"reasoning_tokens": 20}}),
                vec![(Input, 30), (CacheRead, 64), (CacheWrite, 6), (Output, 10), (Reasoning, 20)],
                false,
            ),
            // xAI chat: reasoning outside.
            (
                json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 35,
                       "completion_tokens_details": {"reasoning_tokens": 20}}),
                vec![(Input, 10), (Output, 5), (Reasoning, 20)],
                false,
            ),
            // Mistral: audio outside.
            (
                json!({"prompt_tokens": 11, "completion_tokens": 15, "total_tokens": 401,
                       "prompt_tokens_details": {"audio_tokens": 375}}),
                vec![(Input, 11), (AudioInput, 375), (Output, 15)],
                false,
            ),
            // Some of the audio was cached.
            (
                json!({"prompt_tokens": 64, "completion_tokens": 0,
                       "prompt_tokens_details": {"audio_tokens": 44, "cached_tokens": 30}}),
                vec![(CacheRead, 20), (AudioInput, 34), (AudioCacheRead, 10)],
                false,
            ),
            // DeepSeek, Together, Mistral: the cached ones elsewhere.
            (
                json!({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}),
                vec![(Input, 5), (CacheRead, 4)],
                false,
            ),
            (json!({"input_tokens": 9, "cached_tokens": 4}), vec![(Input, 5), (CacheRead, 4)], false),
            // More reasoning than output: clamped, and said.
            (
                json!({"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6, "reasoning_tokens": 9}),
                vec![(Input, 1), (Reasoning, 5)],
                true,
            ),
            (
                json!({"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 6}),
                vec![(Input, 5), (Output, 5)],
                true,
            ),
            (json!({"prompt_tokens": "5", "completion_tokens": -5}), vec![(Input, 5)], true),
            (json!({"prompt_tokens": null, "completion_tokens": 2.0}), vec![(Output, 2)], false),
        ] {
            assert_eq!(buckets(&usage), (expected, inconsistent), "{usage}");
        }
    }
}
