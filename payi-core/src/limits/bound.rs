//! The most that a call can use and cost, said before it is sent.

use std::fmt;

use crate::{
    limits::{Limit, Measure, Policy, Prompt, Unpriced},
    pricing::{Cost, PriceBook, Priced},
    usage::{Api, Bucket, Usage},
};

/// What is known of the most that a call uses up of a limit, in the limit's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Exactly this.
    Exact(i128),
    /// This at most.
    Upper(i128),
    /// Nobody can say, for this reason.
    Unbounded(Unbounded),
}

/// Why nobody can say what a call will cost at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unbounded {
    /// The request has no `max_tokens`, and its model's own maximum is not known.
    NoMaximum,
    /// It goes on from what the provider keeps: earlier turns, caches, searches.
    Kept,
    /// The provider runs tools for it.
    Tools,
    /// It holds, or names, a file, a document or a video.
    File,
    /// Its body cannot be read.
    Body,
    /// Its endpoint bills something else than tokens.
    Endpoint,
}

impl fmt::Display for Unbounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMaximum => "the request has no max_tokens",
            Self::Kept => "the request goes on from what the provider keeps",
            Self::Tools => "the provider runs tools for the request",
            Self::File => "the request holds a file",
            Self::Body => "the request's body cannot be read",
            Self::Endpoint => "the endpoint bills something else than tokens",
        })
    }
}

/// What is reserved for an output that nothing bounds, in tokens.
const USUAL_OUTPUT: u64 = 4_096;
/// The same for documents, in pages.
const USUAL_PAGES: u64 = 10;
/// Sound at 128 kilobits a second.
const BYTES_OF_A_MILLI: u64 = 16;
const MILLIS_OF_A_TOKEN: u64 = 100;
/// Rerankers count a hundred documents, or parts of 500 tokens, as one.
const CHARACTERS_OF_A_SEARCH: u64 = 50_000;

/// What a call may come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    /// The highest usage there can be; where it is unbounded, a usual one.
    pub(crate) usage: Usage,
    /// What that costs at the dearest price that may apply.
    pub(crate) cost: Cost,
    pub(crate) unbounded: Option<Unbounded>,
}

/// As whom a call is priced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model<'a> {
    pub(crate) provider: &'a str,
    pub(crate) name: Option<&'a str>,
    /// Others that may answer in its place.
    pub(crate) others: &'a [Box<str>],
    pub(crate) api: Api,
    pub(crate) at_us: i64,
}

impl<'a> Model<'a> {
    fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.name.into_iter().chain(self.others.iter().map(|name| &**name))
    }

    fn bills(&self, book: &PriceBook, buckets: &[Bucket]) -> bool {
        self.names().any(|name| book.bills(self.provider, name, self.at_us, buckets))
    }
}

impl Estimate {
    pub(crate) fn new(book: &PriceBook, model: &Model<'_>, prompt: &Prompt) -> Self {
        let (usage, unbounded) = match model.api {
            Api::Audio | Api::Images => in_units(book, model, prompt),
            Api::Unknown if is_billed_in_units(book, model) => in_units(book, model, prompt),
            api => in_tokens(book, model, prompt, api != Api::Embeddings),
        };
        let cost = dearest(book, model, prompt, &usage);
        Self { usage, cost, unbounded }
    }

    pub(crate) fn tokens(&self) -> u64 {
        self.usage.input_tokens() + self.usage.output_tokens()
    }

    /// The most that the call uses up of `limit`; `Err` if its model has no price and the limit wants one.
    pub(crate) fn of(&self, limit: &Limit) -> Result<Bound, Unpriceable> {
        let amount = match limit.measure {
            Measure::Calls | Measure::Concurrent => return Ok(Bound::Exact(1)),
            Measure::Tokens => self.tokens().into(),
            Measure::Cost => match (self.cost.known(), limit.unpriced) {
                (Some(cost), _) => cost.pico(),
                (None, Unpriced::Assume(pico)) => i128::from(pico).saturating_mul(self.tokens().into()),
                (None, Unpriced::Ignore) => return Ok(Bound::Exact(0)),
                (None, Unpriced::Refuse) => return Err(Unpriceable),
            },
        };
        Ok(match self.unbounded {
            Some(_) if limit.policy == Policy::Estimate => Bound::Upper(amount),
            Some(why) => Bound::Unbounded(why),
            None => Bound::Upper(amount),
        })
    }
}

/// The model has no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unpriceable;

/// The most of what is billed by the token.
fn in_tokens(
    book: &PriceBook,
    model: &Model<'_>,
    prompt: &Prompt,
    writes: bool,
) -> (Usage, Option<Unbounded>) {
    // Some embedders are billed by the character.
    let characters = if is_billed_in_units(book, model) { prompt.characters() } else { 0 };
    let usage = Usage::new().with(Bucket::Input, prompt.input()).with(Bucket::Characters, characters);
    if !writes {
        return (usage, prompt.unbounded);
    }
    if let Some(output) = prompt.output().or_else(|| largest(book, model, prompt)) {
        return (usage.with(Bucket::Output, output), prompt.unbounded);
    }
    let usual = USUAL_OUTPUT.saturating_mul(prompt.copies());
    (usage.with(Bucket::Output, usual), prompt.unbounded.or(Some(Unbounded::NoMaximum)))
}

/// A usual bill of endpoints that bill something else than tokens, in whatever units their model has a price for.
/// What is to be spoken is known to the character.
fn in_units(book: &PriceBook, model: &Model<'_>, prompt: &Prompt) -> (Usage, Option<Unbounded>) {
    let units = [
        (Bucket::Characters, prompt.characters()),
        (Bucket::AudioMillis, millis(prompt)),
        (Bucket::Images, prompt.copies()),
        (Bucket::Pages, USUAL_PAGES),
        (Bucket::SearchUnits, 1 + prompt.characters() / CHARACTERS_OF_A_SEARCH),
    ];
    let mut usage = Usage::new();
    for (bucket, count) in units.into_iter().filter(|(bucket, _)| model.bills(book, &[*bucket])) {
        usage.set(bucket, count);
    }
    if !is_billed_in_units(book, model) {
        let input = if is_sound(model, prompt) { millis(prompt) / MILLIS_OF_A_TOKEN } else { prompt.input() };
        usage = Usage::new().with(Bucket::Input, input).with(Bucket::Output, USUAL_OUTPUT);
    }
    let spoken = model.api == Api::Audio && prompt.readable && usage.get(Bucket::Characters) > 0;
    (usage, if spoken { prompt.unbounded } else { Some(Unbounded::Endpoint) })
}

/// A recording, in a form; what is to be spoken comes as JSON.
fn is_sound(model: &Model<'_>, prompt: &Prompt) -> bool {
    model.api == Api::Audio && !prompt.readable
}

/// Whether no token of the model has a price, and something else has.
fn is_billed_in_units(book: &PriceBook, model: &Model<'_>) -> bool {
    const UNITS: [Bucket; 5] =
        [Bucket::Characters, Bucket::AudioMillis, Bucket::Images, Bucket::Pages, Bucket::SearchUnits];
    !model.bills(book, &[Bucket::Input, Bucket::Output]) && model.bills(book, &UNITS)
}

/// How long a recording is, at a usual quality; a minute where it is not at hand.
fn millis(prompt: &Prompt) -> u64 {
    match prompt.characters() / BYTES_OF_A_MILLI {
        0 => 60_000,
        millis => millis,
    }
}

/// The largest answer that the models give, all copies together.
fn largest(book: &PriceBook, model: &Model<'_>, prompt: &Prompt) -> Option<u64> {
    let largest = model.names().map(|name| book.max_output_tokens(model.provider, name));
    Some(largest.collect::<Option<Vec<_>>>()?.into_iter().max()?.saturating_mul(prompt.copies()))
}

/// The dearest of the prices that may apply: input may be written to a cache, seen or heard, output may be
/// thought, drawn or spoken, and whoever may answer may be dearer than whoever was asked first.
fn dearest(book: &PriceBook, model: &Model<'_>, prompt: &Prompt, usage: &Usage) -> Cost {
    const OUTPUTS: [Bucket; 4] =
        [Bucket::Output, Bucket::Reasoning, Bucket::AudioOutput, Bucket::ImageOutput];
    // OpenAI caches by itself; others want what they cache marked.
    let by_itself = matches!(model.api, Api::Chat | Api::Responses);
    let inputs: Vec<Bucket> = [
        (Bucket::Input, true),
        (Bucket::CacheWrite, prompt.caches || by_itself),
        (Bucket::CacheWrite1h, prompt.caches),
        (Bucket::ImageInput, prompt.has_images()),
        (Bucket::AudioInput, prompt.audio_input || is_sound(model, prompt)),
    ]
    .into_iter()
    .filter_map(|(bucket, may_be)| may_be.then_some(bucket))
    .collect();
    let costs = model.names().map(|name| {
        let what = Priced {
            provider: model.provider,
            model: name,
            at_us: model.at_us,
            service_tier: prompt.tier(),
            geo: prompt.geo.as_deref(),
            usage,
        };
        book.most(&what, &inputs, &OUTPUTS)
    });
    // One without a price makes the whole unpriced: it may be the one that answers.
    let dearer = |a: Cost, b: Cost| match (a.known(), b.known()) {
        (Some(x), Some(y)) if x < y => b,
        (Some(_), Some(_)) => a,
        _ => Cost::UNPRICED,
    };
    costs.reduce(dearer).unwrap_or(Cost::UNPRICED)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::money::Money;

    const AT_US: i64 = 1_795_435_200_000_000; // 2026-11-23

    fn estimate(provider: &str, name: &str, api: Api, body: &str) -> Estimate {
        let prompt = Prompt::read(Some(body.as_bytes()));
        let model = Model { provider, name: Some(name), others: &prompt.models, api, at_us: AT_US };
        Estimate::new(PriceBook::embedded(), &model, &prompt)
    }

    fn usd(text: &str) -> Money {
        text.parse().unwrap()
    }

    #[test]
    fn pictures_fast_answers_and_dearer_tiers_are_within_the_bound() {
        let picture = estimate(
            "google",
            "gemini-2.5-flash-image",
            Api::Gemini,
            r#"{"contents":[],"generationConfig":{"maxOutputTokens":2048}}"#,
        );
        assert!(picture.cost.amount >= usd("0.0387"), "1,290 tokens of a picture: {}", picture.cost.amount);
        let ask = |more: &str| {
            let body = format!(r#"{{"model":"m","max_tokens":1000000{more}}}"#);
            (
                estimate("anthropic", "claude-fable-5-2", Api::Messages, &body).cost.amount,
                estimate("openai", "gpt-5", Api::Chat, &body).cost.amount,
            )
        };
        assert!(ask(r#","speed":"fast""#).0 >= usd("80") && ask("").0 < usd("45"));
        let priority = usd("20");
        assert!(ask("").1 >= priority, "the project's default may be priority");
        for (more, dearer) in [
            (r#","service_tier":"auto""#, true),
            (r#","service_tier":"priority""#, true),
            (r#","service_tier":{"type":"priority"}"#, true),
            (r#","service_tier":"default""#, false),
        ] {
            assert_eq!(ask(more).1 >= priority, dearer, "{more}");
        }
    }

    #[test]
    fn the_dearest_of_those_that_may_answer_is_reserved_for() {
        let one = r#"{"model":"openai/gpt-5-mini","max_tokens":1000}"#;
        let cheap = estimate("openrouter", "openai/gpt-5-mini", Api::Chat, one);
        for key in [r#""models":["openai/gpt-5"]"#, r#""fallbacks":[{"model":"openai/gpt-5"}]"#] {
            let body = format!(r#"{{"model":"openai/gpt-5-mini","max_tokens":1000,{key}}}"#);
            let with = estimate("openrouter", "openai/gpt-5-mini", Api::Chat, &body);
            assert!(with.cost.amount > cheap.cost.amount, "{key}: {}", with.cost.amount);
        }
        let body = r#"{"max_tokens":9,"models":["of/nobody"]}"#;
        assert_eq!(estimate("openrouter", "openai/gpt-5-mini", Api::Chat, body).cost.known(), None);
    }

    #[test]
    fn what_is_billed_in_other_units_is_bound_by_them_and_not_unpriced() {
        let speech = estimate("openai", "tts-1", Api::Audio, r#"{"model":"tts-1","input":"h\u00e4\n!"}"#);
        assert_eq!(
            (speech.cost.amount, speech.unbounded),
            (usd("0.00006"), None),
            "4 characters at 15 a million"
        );
        let rerank = estimate("cohere", "rerank-v3.5", Api::Unknown, r#"{"query":"q","documents":["a"]}"#);
        assert_eq!((rerank.cost.amount, rerank.unbounded), (usd("0.002"), Some(Unbounded::Endpoint)));
        // A recording of 1.6 MB is about 100 seconds long.
        let form = "-".repeat(1_600_000);
        let heard = estimate("openai", "whisper-1", Api::Audio, &form);
        assert_eq!((heard.cost.amount, heard.unbounded), (usd("0.01"), Some(Unbounded::Endpoint)));
        assert_eq!(heard.usage.iter().collect::<Vec<_>>(), [(Bucket::AudioMillis, 100_000)]);
        let tokens = estimate("openai", "gpt-4o-transcribe", Api::Audio, &form);
        assert!(tokens.cost.known().is_some() && tokens.cost.amount < usd("0.1"), "{}", tokens.cost.amount);
        assert_eq!(estimate("openai", "of-our-own", Api::Audio, &form).cost.known(), None);
    }
}
