//! Target 6: what it costs to price a call, from a model's name to an amount, beside the crate
//! `genai-prices` on the same calls.

use std::{
    hint::black_box,
    time::{Duration, Instant, UNIX_EPOCH},
};

use genai_prices::{Calculator, PriceRequest, UsageKey};
use payi::{
    pricing::{PriceBook, Priced},
    usage::{Bucket, Usage},
};
use payi_bench::median;

/// 2026-11-23T12:00:00Z.
const AT: u64 = 1_795_435_200;
/// Calls per round and model.
const CALLS: u32 = 200;
const ROUNDS: usize = 101;
/// Nanoseconds per call that may be spent.
const TARGET: f64 = 300.0;

/// An id of the book, a snapshot, a region's, and one that is only similar.
const MODELS: [(&str, &str); 6] = [
    ("openai", "gpt-4o-2024-08-06"),
    ("openai", "gpt-5.6-sol-2026-07-09"),
    ("anthropic", "claude-sonnet-4-5-20250929"),
    ("aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("google", "gemini-2.5-pro"),
    ("openrouter", "anthropic/claude-sonnet-4.5"),
];

fn main() {
    let begun = Instant::now();
    let book = PriceBook::embedded();
    let start = begun.elapsed();
    let begun = Instant::now();
    let calculator = Calculator::bundled();
    let anchor_start = begun.elapsed();

    let usage =
        Usage::new().with(Bucket::Input, 1_000).with(Bucket::CacheRead, 500).with(Bucket::Output, 200);
    let totals = genai_prices::Usage::from([
        (UsageKey::INPUT_TOKENS, 1_500.0),
        (UsageKey::CACHE_READ_TOKENS, 500.0),
        (UsageKey::OUTPUT_TOKENS, 200.0),
    ]);
    let at = UNIX_EPOCH + Duration::from_secs(AT);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS + 10 {
        let price = per_call(|provider, model| {
            let what = Priced {
                provider: black_box(provider),
                model: black_box(model),
                at_us: 1_000_000 * i64::try_from(AT).unwrap_or_default(),
                service_tier: None,
                geo: None,
                usage: &usage,
            };
            black_box(book.price(&what));
        });
        let anchor = per_call(|provider, model| {
            let request = PriceRequest::new(black_box(model), &totals);
            let request = request.with_provider_id(black_box(provider)).with_timestamp(at);
            let _ = black_box(calculator.calculate(&request));
        });
        if round >= 10 {
            ours.push(price);
            theirs.push(anchor);
        }
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!(
        "evidence bench-prices: {ours:.0} ns to price a call (genai-prices {theirs:.0} ns); book read in {:.1} ms (genai-prices {:.1} ms)",
        start.as_secs_f64() * 1e3,
        anchor_start.as_secs_f64() * 1e3,
    );
    assert!(ours <= TARGET, "target 6 is missed: at most {TARGET} ns");
}

/// Nanoseconds per call, over all models.
fn per_call(mut call: impl FnMut(&str, &str)) -> f64 {
    let begun = Instant::now();
    for (provider, model) in MODELS {
        for _ in 0..CALLS {
            call(provider, model);
        }
    }
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS) / 6.0
}
