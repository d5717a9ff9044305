//! Tests of the book as a whole.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use super::{
    Cost, CostSource, MatchKind, PriceBook, Priced,
    book::{Draft, EMBEDDED},
    format,
};
use crate::usage::{Bucket, Usage};

/// 2026-11-23T12:00:00Z, a Monday.
pub(super) const NOON: i64 = 1_795_435_200_000_000;

fn of<'a>(provider: &'a str, model: &'a str, usage: &'a Usage) -> Priced<'a> {
    Priced { provider, model, at_us: NOON, service_tier: None, geo: None, usage }
}

fn usd(cost: Cost) -> Option<String> {
    cost.known().map(|amount| amount.to_string())
}

fn million_in() -> Usage {
    Usage::new().with(Bucket::Input, 1_000_000)
}

fn small(text: &str) -> PriceBook {
    PriceBook::default().with_book(&format!("payi prices 1\nsource s\nprovider p\n{text}")).unwrap()
}

#[test]
fn the_committed_books_can_be_read() {
    let mut draft = Draft::default();
    for text in EMBEDDED {
        format::lay_over(&mut draft, text).unwrap();
    }
    assert!(draft.models.len() > 2_000 && draft.providers.len() > 40, "{}", draft.models.len());
}

#[test]
fn matches_names_best_first() {
    let usage = million_in();
    let kind = |provider, model| {
        let found = PriceBook::embedded().find(provider, model)?;
        Some((found.kind, PriceBook::embedded().draft().models[found.model].id.to_string()))
    };
    for (provider, model, want) in [
        ("openai", "gpt-4o", Some((MatchKind::Exact, "gpt-4o"))),
        ("OpenAI", "GPT-4o", Some((MatchKind::Exact, "gpt-4o"))),
        ("openai", "gpt-4o-2099-01-01", Some((MatchKind::Similar, "gpt-4o"))),
        ("openai", "gpt-5.6-sol-2026-07-09", Some((MatchKind::Snapshot, "gpt-5.6-sol"))),
        ("openai", "gpt-5.6-sol-20260709", Some((MatchKind::Normalised, "gpt-5.6-sol"))),
        ("openai", "something-else", None),
        ("a-host-nobody-knows", "gpt-4o", None),
        ("azure", "gpt-4o", Some((MatchKind::Exact, "gpt-4o"))),
        ("google", "models/gemini-2.5-flash", Some((MatchKind::Normalised, "gemini-2.5-flash"))),
        ("google", "claude-sonnet-4-5@20250929", Some((MatchKind::Snapshot, "claude-sonnet-4-5"))),
    ] {
        assert_eq!(kind(provider, model), want.map(|(k, id)| (k, id.to_owned())), "{provider} {model}");
    }
    assert_eq!(
        PriceBook::embedded().price(&of("openai", "gpt-4o-2099-01-01", &usage)).source,
        CostSource::Estimated,
        "an unknown snapshot may cost something else"
    );
}

#[test]
fn spellings_of_hosts_lead_to_the_same_entry_and_what_changes_the_price_stays() {
    let usage = million_in();
    let price = |provider, model| usd(PriceBook::embedded().price(&of(provider, model, &usage)));
    for (provider, same, as_this) in [
        ("google", "publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("google", "projects/p/locations/l/publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("google", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("openai", "gpt-4o-20240806", "gpt-4o"),
        (
            "aws",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        ("openai", "ft:gpt-4o-2024-08-06:acme::abc123", "ft:gpt-4o-2024-08-06:other:name:x"),
        ("openrouter", "openai/gpt-4o", "openai/gpt-4o"),
    ] {
        assert!(price(provider, same).is_some(), "{same}");
        assert_eq!(price(provider, same), price(provider, as_this), "{same}");
    }
    for (provider, model, other) in [
        ("openai", "ft:gpt-4o-2024-08-06:acme::abc123", "gpt-4o-2024-08-06"),
        (
            "aws",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        ("openrouter", "google/gemma-3-27b-it:free", "google/gemma-3-27b-it"),
    ] {
        assert_ne!(price(provider, model), price(provider, other), "{model}");
    }
    assert_eq!(price("openrouter", "google/gemma-3-27b-it:free").as_deref(), Some("0"));
    let profile = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdef";
    assert_eq!(price("aws", profile), None, "a name that says nothing");
}

#[test]
fn limits_are_known_for_models_of_the_book_and_guessed_for_none() {
    let book = PriceBook::embedded();
    for (provider, model, most) in [
        ("openai", "gpt-4o", Some(16_384)),
        ("openai", "gpt-4o-2024-05-13", Some(4_096)),
        ("openai", "gpt-5-2025-08-07", Some(128_000)),
        ("anthropic", "claude-sonnet-4-5-20250929", Some(64_000)),
        ("google", "models/gemini-2.5-pro", Some(65_536)),
        ("aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", Some(64_000)),
        ("openai", "gpt-4o-2099-01-01", None),
        ("openai", "nobody-knows-it", None),
    ] {
        assert_eq!(book.max_output_tokens(provider, model), most, "{provider} {model}");
    }
    let known = book.models().filter(|entry| entry.max_output_tokens().is_some()).count();
    assert!(known > 700, "{known}");
    // Whoever knows better says so.
    let own = small("model m\nprice input=1\nmost output 77\n");
    assert_eq!(own.max_output_tokens("p", "m"), Some(77));
    assert!(PriceBook::default().with_book("payi prices 1\nprovider p\nmodel m\nmost 7\n").is_err());
}

#[test]
fn the_call_pays_the_price_of_its_day() {
    let usage = million_in();
    let at = |at_us| usd(PriceBook::embedded().price(&Priced { at_us, ..of("openai", "gpt-5.4", &usage) }));
    assert_eq!(at(NOON).as_deref(), Some("5"), "a million is above 272,000");
    let book =
        small("model m\nprice input=4\nprice from=2026-08-21 input=3\nprice from=2027-01-01 input=2\n");
    let at = |at_us| usd(book.price(&Priced { at_us, ..of("p", "m", &usage) }));
    let cut = format::moment("2026-08-21").unwrap();
    assert_eq!(at(cut - 1).as_deref(), Some("4"));
    assert_eq!(at(cut).as_deref(), Some("3"));
    assert_eq!(at(i64::MAX).as_deref(), Some("2"));
}

#[test]
fn what_has_no_price_is_not_free() {
    let book = small("model words\nprice input=1\nmodel pictures\nprice images=0.04\n");
    let searches = Usage::new().with(Bucket::WebSearches, 1);
    assert_eq!(book.price(&of("p", "words", &searches)), Cost::UNPRICED);
    let both = searches.with(Bucket::Input, 1_000_000);
    let cost = book.price(&of("p", "words", &both));
    assert_eq!((usd(cost).as_deref(), cost.source), (Some("1"), CostSource::Estimated));
    assert_eq!(book.price(&of("p", "pictures", &million_in())), Cost::UNPRICED);
    assert_eq!(usd(book.price(&of("p", "words", &Usage::new()))).as_deref(), Some("0"));
}

#[test]
fn what_has_no_price_of_its_own_costs_what_its_parent_costs() {
    let book = small("model m\nprice input=1 cache_write=2 output=4 requests=5\n");
    for (bucket, want) in [
        (Bucket::CacheRead, "1.005"),
        (Bucket::CacheWrite1h, "2.005"),
        (Bucket::AudioInput, "1.005"),
        (Bucket::Reasoning, "4.005"),
    ] {
        let usage = Usage::new().with(bucket, 1_000_000);
        assert_eq!(usd(book.price(&of("p", "m", &usage))).as_deref(), Some(want), "{bucket:?}");
    }
}

#[test]
fn tiers_and_regions() {
    let book = small(
        "model m\nprice input=1 web_searches=10\ntier batch from=2026-10-01 input=0.5\ngeo us x11/10\ngeo eu input=3\n",
    );
    let usage = million_in().with(Bucket::WebSearches, 1_000);
    let price = |service_tier, geo| book.price(&Priced { service_tier, geo, ..of("p", "m", &usage) });
    let computed = CostSource::Computed;
    for (tier, geo, amount, source) in [
        (None, None, "11", computed),
        (Some("default"), None, "11", computed),
        (Some("BATCH"), None, "10.5", computed),
        (Some("batch"), Some("us"), "10.55", computed),
        (None, Some("global"), "11", computed),
        (None, Some("eu"), "13", computed),
        (Some("scale"), None, "11", CostSource::Estimated),
    ] {
        let cost = price(tier, geo);
        assert_eq!((usd(cost).as_deref(), cost.source), (Some(amount), source), "{tier:?} {geo:?}");
    }
    let at_us = format::moment("2026-09-01").unwrap();
    let early = book.price(&Priced { at_us, service_tier: Some("batch"), ..of("p", "m", &usage) });
    assert_eq!(
        (usd(early).as_deref(), early.source),
        (Some("10.5"), CostSource::Estimated),
        "before it was known"
    );
}

#[test]
fn a_later_book_takes_ids_over() {
    let book = small("model old\nid latest\nprice input=1\nmodel new\nprice input=2\n");
    let over = book.with_book("payi prices 1\nprovider p\nmodel new\nid latest\n").unwrap();
    let usage = million_in();
    assert_eq!(usd(book.price(&of("p", "latest", &usage))).as_deref(), Some("1"));
    assert_eq!(usd(over.price(&of("p", "latest", &usage))).as_deref(), Some("2"));
}

#[test]
fn says_which_line_cannot_be_read() {
    for (text, part) in [
        ("", "begins with"),
        ("payi prices 1\nprovider p\nmodel m\nprice input=cheap\n", "line 4"),
        ("payi prices 1\nprice input=1\n", "line 2"),
        ("payi prices 1\nprovider p\nmodel m\nprice colour=1\n", "unknown kind"),
        ("payi prices 1\nprovider p\nmodel m\nprice from=soon input=1\n", "date"),
    ] {
        let error = PriceBook::default().with_book(text).unwrap_err();
        assert!(error.is_config() && error.to_string().contains(part), "{error}");
    }
}

#[test]
fn an_explanation_adds_up() {
    let usage = Usage::new()
        .with(Bucket::Input, 1_001)
        .with(Bucket::CacheRead, 77)
        .with(Bucket::Output, 13)
        .with(Bucket::WebSearches, 2);
    let book = small(
        "model m\nprice input=0.0000001/3 cache_read=0.0000001/7 output=1 web_searches=10\ngeo us x1.1\n",
    );
    let explanation = book.explain(&Priced { geo: Some("us"), ..of("p", "m", &usage) });
    assert_eq!(explanation.lines.len(), 4);
    assert_eq!(explanation.cost.amount, explanation.lines.iter().filter_map(|line| line.amount).sum());
    assert!(explanation.to_string().contains("10 USD per thousand"), "{explanation}");
}
