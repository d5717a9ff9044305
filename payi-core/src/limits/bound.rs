//! The most that a call can use and cost, said before it is sent.

use std::fmt;

use crate::{
    limits::{Limit, Measure, Policy, Prompt, Unpriced},
    money::Money,
    pricing::{Cost, CostSource, PriceBook, Priced},
    usage::{Api, Bucket, Usage},
};

/// What is known of the most that a call uses up of a limit, in the limit's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
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
    pub(crate) api: Api,
    pub(crate) at_us: i64,
}

impl Estimate {
    pub(crate) fn new(book: &PriceBook, model: &Model<'_>, prompt: &Prompt) -> Self {
        let (output, unbounded) = match model.api {
            Api::Embeddings => (0, prompt.unbounded),
            Api::Chat | Api::Completions | Api::Responses | Api::Messages | Api::Gemini | Api::Unknown => {
                match prompt.output().or_else(|| largest(book, model, prompt)) {
                    Some(output) => (output, prompt.unbounded),
                    None => (
                        USUAL_OUTPUT.saturating_mul(prompt.copies()),
                        prompt.unbounded.or(Some(Unbounded::NoMaximum)),
                    ),
                }
            }
            _ => (USUAL_OUTPUT, Some(Unbounded::Endpoint)),
        };
        let usage = Usage::new().with(Bucket::Input, prompt.input()).with(Bucket::Output, output);
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

/// The largest answer that the model gives, all copies together.
fn largest(book: &PriceBook, model: &Model<'_>, prompt: &Prompt) -> Option<u64> {
    let largest = book.max_output_tokens(model.provider, model.name?)?;
    Some(largest.saturating_mul(prompt.copies()))
}

/// The dearest of the prices that may apply: input may be written to a cache or be heard, output may be
/// spoken, and the tier asked for may cost more than the usual one.
fn dearest(book: &PriceBook, model: &Model<'_>, prompt: &Prompt, usage: &Usage) -> Cost {
    let Some(name) = model.name else { return Cost::UNPRICED };
    let mut inputs = vec![Bucket::Input];
    if prompt.caches {
        inputs.extend([Bucket::CacheWrite, Bucket::CacheWrite1h]);
    }
    if prompt.audio_input {
        inputs.push(Bucket::AudioInput);
    }
    let mut outputs = vec![Bucket::Output, Bucket::Reasoning];
    if prompt.audio_output {
        outputs.push(Bucket::AudioOutput);
    }
    let tiers = [None, prompt.service_tier.as_deref()];
    let mut dearest = Cost::UNPRICED;
    for (input, output) in inputs.iter().flat_map(|&i| outputs.iter().map(move |&o| (i, o))) {
        let usage =
            Usage::new().with(input, usage.get(Bucket::Input)).with(output, usage.get(Bucket::Output));
        for service_tier in tiers.iter().take(1 + usize::from(prompt.service_tier.is_some())) {
            let cost = book.price(&Priced {
                provider: model.provider,
                model: name,
                at_us: model.at_us,
                service_tier: *service_tier,
                geo: prompt.geo.as_deref(),
                usage: &usage,
            });
            if cost.source != CostSource::Unpriced && cost.amount >= dearest.amount {
                dearest = Cost { amount: cost.amount, source: CostSource::Estimated };
            }
        }
    }
    debug_assert!(dearest.amount >= Money::ZERO);
    dearest
}
