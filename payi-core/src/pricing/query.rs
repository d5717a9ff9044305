//! A usage to be priced, as a line of JSON: what `payi prices cost` reads.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Explanation, PriceBook, Priced};
use crate::{
    error::{Error, Kind},
    usage::{Bucket, Usage},
};

/// One usage to be priced.
///
/// The counts are totals that contain their parts, as OpenTelemetry has them: `input_tokens` contains
/// `cache_read_tokens`, `cache_write_tokens` contains `cache_write_1h_tokens`, and so on.
///
/// ```
/// use payi_core::pricing::{PriceBook, Query};
///
/// let line = r#"{"provider": "anthropic", "model": "claude-sonnet-4-5", "at": "2026-11-23T12:00:00Z",
///     "usage": {"input_tokens": 1000, "cache_read_tokens": 800, "output_tokens": 50}}"#;
/// let query = Query::read(line)?;
/// let explanation = query.explain(PriceBook::embedded(), &query.usage()?);
/// assert_eq!(explanation.cost.amount.to_string(), "0.00159"); // 200 × 3 + 800 × 0.3 + 50 × 15 per million
/// # Ok::<(), payi_core::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Query {
    /// Whose price list.
    pub provider: String,
    /// The model, as the provider names it.
    pub model: String,
    /// When (a date or RFC 3339); now, where it is left out.
    pub at: Option<String>,
    /// The service tier billed.
    pub service_tier: Option<String>,
    /// `batch` for the batch API.
    pub processing: Option<String>,
    /// `fast` for Anthropic's fast mode.
    pub speed: Option<String>,
    /// Perplexity's `low`, `medium` or `high`.
    pub search_context_size: Option<String>,
    /// The region billed, where the price depends on it.
    #[serde(alias = "inference_geo")]
    pub geo: Option<String>,
    /// Counts by name.
    #[serde(default)]
    pub usage: Option<BTreeMap<String, Option<u64>>>,
}

impl Query {
    /// Reads one line of JSON. Keys it does not know are left alone.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`] if it is not such a line.
    pub fn read(line: &str) -> Result<Self, Error> {
        let query: Self = serde_json::from_str(line).map_err(|e| {
            let message = format!("this is not a usage with \"provider\" and \"model\": {e}");
            Error::with_source(Kind::Config, message, e)
        })?;
        if let Some(Err(why)) = query.at.as_deref().map(super::format::moment) {
            return Err(Error::new(Kind::Config, format!("the \"at\" of this usage is {why}")));
        }
        Ok(query)
    }

    /// The disjoint buckets of its `usage`.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`] if a part is larger than its whole, or a count is not known.
    pub fn usage(&self) -> Result<Usage, Error> {
        let mut counts = Counts(self.usage.clone().unwrap_or_default());
        let usage = counts.buckets().ok_or_else(|| {
            Error::new(
                Kind::Config,
                "a part of the usage is larger than its whole: totals contain their parts",
            )
        })?;
        match counts.0.into_iter().find(|(_, count)| count.is_some_and(|n| n > 0)) {
            Some((name, _)) => Err(Error::new(Kind::Config, format!("the usage \"{name}\" is not known"))),
            None => Ok(usage),
        }
    }

    /// Prices a usage under the names of this query; at the present moment if it names none.
    pub fn explain(&self, book: &PriceBook, usage: &Usage) -> Explanation {
        let now = || jiff::Timestamp::now().as_microsecond();
        let at_us = self.at.as_deref().and_then(|at| super::format::moment(at).ok());
        let tier = [&self.processing, &self.speed, &self.search_context_size, &self.service_tier];
        book.explain(&Priced {
            provider: &self.provider,
            model: &self.model,
            at_us: at_us.unwrap_or_else(now),
            service_tier: tier.into_iter().flatten().next().map(String::as_str),
            geo: self.geo.as_deref(),
            usage,
        })
    }
}

/// Counts by name, each taken out as it is used.
struct Counts(BTreeMap<String, Option<u64>>);

impl Counts {
    fn take(&mut self, name: &str) -> u64 {
        self.0.remove(name).flatten().unwrap_or_default()
    }

    fn buckets(&mut self) -> Option<Usage> {
        let mut usage = Usage::new();
        for (name, bucket) in WHOLE {
            usage.set(bucket, self.take(name));
        }
        usage.set(
            Bucket::AudioMillis,
            self.take("audio_seconds").max(self.take("input_audio_seconds")).checked_mul(1_000)?,
        );

        let (audio_read, image_read) =
            (self.take("cache_audio_read_tokens"), self.take("cache_image_read_tokens"));
        let read = self.take("cache_read_tokens").checked_sub(audio_read)?.checked_sub(image_read)?;
        let write_1h = self.take("cache_write_1h_tokens");
        let write = self.take("cache_write_tokens").checked_sub(write_1h)?;
        for name in REST {
            self.take(name);
        }
        for (bucket, count) in [
            (Bucket::AudioCacheRead, audio_read),
            (Bucket::ImageCacheRead, image_read),
            (Bucket::CacheRead, read),
            (Bucket::CacheWrite1h, write_1h),
            (Bucket::CacheWrite, write),
            (Bucket::AudioInput, self.take("input_audio_tokens").checked_sub(audio_read)?),
            (Bucket::ImageInput, self.take("input_image_tokens").checked_sub(image_read)?),
            (Bucket::VideoInput, self.take("input_video_tokens")),
        ] {
            usage.set(bucket, count);
        }
        usage.set(Bucket::Input, self.take("input_tokens").checked_sub(usage.input_tokens())?);

        usage.set(Bucket::Reasoning, self.take("output_reasoning_tokens"));
        usage.set(Bucket::AudioOutput, self.take("output_audio_tokens"));
        usage.set(Bucket::ImageOutput, self.take("output_image_tokens"));
        usage.set(Bucket::Output, self.take("output_tokens").checked_sub(usage.output_tokens())?);
        Some(usage)
    }
}

/// What is left of a whole without its other parts, and what is priced as any other token of it.
const REST: [&str; 7] = [
    "cache_write_5m_tokens",
    "cache_text_read_tokens",
    "cache_text_write_tokens",
    "input_text_tokens",
    "input_tool_tokens",
    "output_text_tokens",
    "output_citation_tokens",
];

const WHOLE: [(&str, Bucket); 6] = [
    ("web_searches", Bucket::WebSearches),
    ("storage_searches", Bucket::FileSearches),
    ("input_characters", Bucket::Characters),
    ("input_document_pages", Bucket::Pages),
    ("images", Bucket::Images),
    ("rerank_searches", Bucket::SearchUnits),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    fn usage(counts: &str) -> Result<Usage, Error> {
        Query::read(&format!(r#"{{"provider": "p", "model": "m", "usage": {counts}}}"#))?.usage()
    }

    #[test]
    fn takes_parts_out_of_their_wholes() {
        let all = usage(
            r#"{"input_tokens": 100, "cache_read_tokens": 40, "cache_audio_read_tokens": 5, "input_audio_tokens": 15,
                "cache_write_tokens": 20, "cache_write_1h_tokens": 8, "output_tokens": 50,
                "output_reasoning_tokens": 30, "web_searches": null}"#,
        );
        let want = Usage::new()
            .with(Bucket::Input, 30)
            .with(Bucket::CacheRead, 35)
            .with(Bucket::AudioCacheRead, 5)
            .with(Bucket::AudioInput, 10)
            .with(Bucket::CacheWrite, 12)
            .with(Bucket::CacheWrite1h, 8)
            .with(Bucket::Output, 20)
            .with(Bucket::Reasoning, 30);
        assert_eq!(all.unwrap(), want);
    }

    #[test]
    fn refuses_what_cannot_be() {
        assert!(usage(r#"{"input_tokens": 1, "cache_read_tokens": 2}"#).unwrap_err().is_config());
        assert!(usage(r#"{"input_jokes": 2}"#).unwrap_err().to_string().contains("input_jokes"));
        assert!(Query::read("{}").unwrap_err().is_config());
        let soon = Query::read(r#"{"provider": "p", "model": "m", "at": "soon"}"#);
        assert!(soon.unwrap_err().to_string().contains("date"));
    }
}
