//! How much was used: disjoint buckets, read from a provider's answer.
//!
//! Providers count differently (OpenAI's `prompt_tokens` contain the cached ones, Anthropic's
//! `input_tokens` do not); each parser resolves that overlap, so that behind this module every
//! token is in exactly one [`Bucket`].

mod answer;
mod anthropic;
pub(crate) mod buffer;
mod estimate;
mod frames;
mod gemini;
pub(crate) mod guardrail;
mod keys;
mod meter;
mod openai;
mod others;
mod pass;
pub(crate) mod pick;
mod rules;
pub(crate) mod sample;
pub(crate) mod sse;
mod tree;
#[cfg(feature = "compression")]
mod unpack;

use std::ops::AddAssign;

#[cfg(feature = "tokenizer")]
pub use estimate::load_tokenizer;
#[cfg(any(feature = "testing", feature = "_http"))]
pub(crate) use frames::base64;
pub use guardrail::Guardrail;
pub use meter::Meter;

use crate::money::Money;

/// What is counted, each in its own unit. No two overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Bucket {
    /// Text tokens read afresh.
    Input,
    /// Text tokens read from a cache.
    CacheRead,
    /// Text tokens written to a cache (the provider's usual lifetime; Anthropic: 5 minutes).
    CacheWrite,
    /// Text tokens written to a cache that lives an hour.
    CacheWrite1h,
    /// Audio tokens read afresh.
    AudioInput,
    /// Audio tokens read from a cache.
    AudioCacheRead,
    /// Image tokens read afresh.
    ImageInput,
    /// Image tokens read from a cache.
    ImageCacheRead,
    /// Video tokens read afresh.
    VideoInput,
    /// Text tokens written, reasoning apart.
    Output,
    /// Tokens of hidden reasoning.
    Reasoning,
    /// Audio tokens written.
    AudioOutput,
    /// Image tokens written.
    ImageOutput,
    /// Searches of the web run by the provider.
    WebSearches,
    /// Searches of files run by the provider.
    FileSearches,
    /// Milliseconds of audio, where audio is billed by its length.
    AudioMillis,
    /// Images made, where images are billed by the piece.
    Images,
    /// Characters, where text is billed by the character.
    Characters,
    /// Pages of documents read.
    Pages,
    /// Units of search (rerankers).
    SearchUnits,
}

impl Bucket {
    /// Every bucket, in the order of the ledger's columns.
    pub const ALL: [Self; 20] = [
        Self::Input,
        Self::CacheRead,
        Self::CacheWrite,
        Self::CacheWrite1h,
        Self::AudioInput,
        Self::AudioCacheRead,
        Self::ImageInput,
        Self::ImageCacheRead,
        Self::VideoInput,
        Self::Output,
        Self::Reasoning,
        Self::AudioOutput,
        Self::ImageOutput,
        Self::WebSearches,
        Self::FileSearches,
        Self::AudioMillis,
        Self::Images,
        Self::Characters,
        Self::Pages,
        Self::SearchUnits,
    ];

    /// The bucket's name in columns, JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CacheRead => "cache_read",
            Self::CacheWrite => "cache_write",
            Self::CacheWrite1h => "cache_write_1h",
            Self::AudioInput => "audio_input",
            Self::AudioCacheRead => "audio_cache_read",
            Self::ImageInput => "image_input",
            Self::ImageCacheRead => "image_cache_read",
            Self::VideoInput => "video_input",
            Self::Output => "output",
            Self::Reasoning => "reasoning",
            Self::AudioOutput => "audio_output",
            Self::ImageOutput => "image_output",
            Self::WebSearches => "web_searches",
            Self::FileSearches => "file_searches",
            Self::AudioMillis => "audio_ms",
            Self::Images => "images",
            Self::Characters => "characters",
            Self::Pages => "pages",
            Self::SearchUnits => "search_units",
        }
    }

    /// Whether it counts tokens the model read.
    pub const fn is_input_token(self) -> bool {
        matches!(
            self,
            Self::Input
                | Self::CacheRead
                | Self::CacheWrite
                | Self::CacheWrite1h
                | Self::AudioInput
                | Self::AudioCacheRead
                | Self::ImageInput
                | Self::ImageCacheRead
                | Self::VideoInput
        )
    }

    /// Whether it counts tokens the model wrote.
    pub const fn is_output_token(self) -> bool {
        matches!(self, Self::Output | Self::Reasoning | Self::AudioOutput | Self::ImageOutput)
    }
}

/// Counts per [`Bucket`], each in the bucket's own unit.
///
/// ```
/// use payi_core::usage::{Bucket, Usage};
///
/// let usage = Usage::new().with(Bucket::Input, 36).with(Bucket::CacheRead, 64).with(Bucket::Output, 30);
/// assert_eq!(usage.input_tokens(), 100);
/// assert_eq!(usage.get(Bucket::CacheRead), 64);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage([u64; Bucket::ALL.len()]);

impl Usage {
    /// Nothing used.
    pub const fn new() -> Self {
        Self([0; Bucket::ALL.len()])
    }

    /// The count of one bucket.
    pub const fn get(&self, bucket: Bucket) -> u64 {
        self.0[bucket as usize]
    }

    /// Sets the count of one bucket.
    pub const fn set(&mut self, bucket: Bucket, count: u64) {
        self.0[bucket as usize] = count;
    }

    /// The same with one bucket's count set.
    pub const fn with(mut self, bucket: Bucket, count: u64) -> Self {
        self.set(bucket, count);
        self
    }

    /// All tokens the model read, cached or not.
    pub fn input_tokens(&self) -> u64 {
        self.sum(Bucket::is_input_token)
    }

    /// All tokens the model wrote, reasoning included.
    pub fn output_tokens(&self) -> u64 {
        self.sum(Bucket::is_output_token)
    }

    /// The buckets that are not zero.
    pub fn iter(&self) -> impl Iterator<Item = (Bucket, u64)> + '_ {
        Bucket::ALL.into_iter().map(|b| (b, self.get(b))).filter(|&(_, n)| n > 0)
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&n| n == 0)
    }

    fn sum(&self, counted: impl Fn(Bucket) -> bool) -> u64 {
        self.iter().filter(|&(b, _)| counted(b)).fold(0, |sum, (_, n)| sum.saturating_add(n))
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        for (sum, n) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(n);
        }
    }
}

/// What a provider's answer says about itself, once read.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a finding of its own")]
pub struct Reading {
    /// The answer's id.
    pub response_id: Option<Box<str>>,
    /// The model that answered, as the answer names it.
    pub model: Option<Box<str>>,
    /// The service tier the answer was billed at, as the answer names it.
    pub service_tier: Option<Box<str>>,
    /// The region the answer was computed in, where its price depends on it (Anthropic `inference_geo`).
    pub geo: Option<Box<str>>,
    /// What was used at `model`; `None` if the answer does not say.
    pub usage: Option<Usage>,
    /// What was used at other models on the way (Anthropic `advisor_message` iterations).
    pub elsewhere: Vec<(Box<str>, Usage)>,
    /// What the provider says it charges.
    pub reported_cost: Option<Money>,
    /// The tools the answer calls.
    pub function_calls: Vec<FunctionCall>,
    /// What a guardrail did, where the answer says it.
    pub guardrail: Option<Guardrail>,
    /// The error the answer carries, by its type or code (never its message).
    pub error: Option<Box<str>>,
    /// The answer is made while nobody waits for it: its usage is known once it is fetched, and shown each time it is.
    pub background: bool,
    /// Some of the counts were estimated, because the answer did not say them.
    pub estimated: bool,
    /// The counts contradict each other and had to be clamped.
    pub inconsistent: bool,
    /// The answer could not be read as what it claims to be.
    pub malformed: bool,
}

/// A tool call in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionCall {
    /// The tool's name.
    pub name: Box<str>,
    /// Its arguments as the model wrote them (usually JSON).
    pub arguments: Option<Box<str>>,
}

/// The kind of answer, which decides how its usage is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Api {
    /// OpenAI's chat completions, and the hosts that speak them.
    Chat,
    /// OpenAI's older completions.
    Completions,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// Embeddings.
    Embeddings,
    /// Pictures.
    Images,
    /// Speech and transcriptions.
    Audio,
    /// Gemini's generated content.
    Gemini,
    /// Not known: whatever looks like a usage is read.
    #[default]
    Unknown,
}
