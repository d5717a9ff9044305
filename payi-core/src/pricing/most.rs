//! The most that a call can cost, said before it: what its tokens will be, and which tier will serve it, is not known.

use crate::usage::Bucket;

use super::{
    Cost, CostSource, PriceBook, Priced,
    bill::{bill, price_of},
    model::{Chosen, Model},
    rate::Price,
};

impl PriceBook {
    /// The most that `what` can cost: its input may turn out to be any of the buckets `inputs`, its output any of
    /// `outputs`, and what it asks no tier or region for may be served by every one that is given unasked.
    ///
    /// What has no price is left out, as long as something has one.
    pub(crate) fn most(&self, what: &Priced<'_>, inputs: &[Bucket], outputs: &[Bucket]) -> Cost {
        let Some(found) = self.find(what.provider, what.model) else { return Cost::UNPRICED };
        let model = &self.draft().models[found.model];
        let mut most = Cost::UNPRICED;
        for tier in tiers(model, what.service_tier) {
            for region in regions(model, what.geo) {
                let chosen = model.choose(what.at_us, tier, region);
                let mut usage = *what.usage;
                for (kinds, bucket) in [(inputs, Bucket::Input), (outputs, Bucket::Output)] {
                    let count = usage.get(bucket);
                    usage.set(bucket, 0);
                    usage.set(dearest(&chosen, kinds, what.usage.input_tokens()).unwrap_or(bucket), count);
                }
                let cost = bill(found, &chosen, &usage, |_, _, _, _| ());
                if cost.source != CostSource::Unpriced && cost.amount >= most.amount {
                    most = Cost { amount: cost.amount, source: CostSource::Estimated };
                }
            }
        }
        most
    }

    /// Whether the model has a price for any of the buckets.
    pub(crate) fn bills(&self, provider: &str, model: &str, at_us: i64, buckets: &[Bucket]) -> bool {
        self.find(provider, model).is_some_and(|found| {
            let chosen = self.draft().models[found.model].choose(at_us, None, None);
            buckets.iter().any(|&bucket| price(&chosen, bucket, 0).is_some())
        })
    }
}

/// The tiers that may serve a call that asks for `asked`: whoever asks for none may be given any, but for those
/// that are an interface of their own (batches) or have to be asked for by name (Anthropic's fast mode).
fn tiers<'m>(model: &'m Model, asked: Option<&'m str>) -> impl Iterator<Item = Option<&'m str>> {
    let any = asked.is_none_or(|tier| tier.eq_ignore_ascii_case("auto"));
    let unasked = move |name: &&str| any && !matches!(*name, "batch" | "fast");
    let others = model.tiers.iter().map(|tier| &*tier.name).filter(unasked);
    [None, asked.filter(|_| !any)].into_iter().take(if any { 1 } else { 2 }).chain(others.map(Some))
}

/// The same for regions: an account may have a default of its own.
fn regions<'m>(model: &'m Model, asked: Option<&'m str>) -> impl Iterator<Item = Option<&'m str>> {
    let others = model.regions.iter().map(|region| &*region.name).filter(move |_| asked.is_none());
    std::iter::once(asked).chain(others.map(Some))
}

/// The bucket that costs most.
fn dearest(chosen: &Chosen<'_>, kinds: &[Bucket], input_tokens: u64) -> Option<Bucket> {
    let priced = kinds.iter().filter_map(|&kind| Some((kind, price(chosen, kind, input_tokens)?)));
    let (kind, _) = priced.max_by(|(_, a), (_, b)| a.cmp_unit(*b))?;
    Some(kind)
}

fn price(chosen: &Chosen<'_>, bucket: Bucket, input_tokens: u64) -> Option<Price> {
    let rate = price_of(bucket).iter().find_map(|&key| chosen.rates[key as usize])?;
    Some(rate.at(input_tokens))
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::{money::Money, usage::Usage};

    const AT_US: i64 = 1_795_435_200_000_000; // 2026-11-23

    fn most(provider: &str, model: &str, tier: Option<&str>, usage: &Usage) -> Money {
        let what = Priced { provider, model, at_us: AT_US, service_tier: tier, geo: Some("global"), usage };
        let outputs = [Bucket::Output, Bucket::Reasoning, Bucket::AudioOutput, Bucket::ImageOutput];
        PriceBook::embedded().most(&what, &[Bucket::Input], &outputs).amount
    }

    #[test]
    fn a_picture_and_a_tier_that_nobody_asked_for_are_in_it() {
        let usage = Usage::new().with(Bucket::Output, 1_000_000);
        let usd = |usd: &str| usd.parse::<Money>().expect("a price");
        assert_eq!(most("google", "gemini-2.5-flash-image", None, &usage), usd("30"), "all of it a picture");
        for (tier, expected) in [
            (None, "20"),
            (Some("auto"), "20"),
            (Some("priority"), "20"),
            (Some("default"), "10"),
            (Some("flex"), "10"),
        ] {
            assert_eq!(most("openai", "gpt-5", tier, &usage), usd(expected), "{tier:?}");
        }
        // Batches are another interface, and fast answers have to be asked for.
        let model = "claude-fable-5-2";
        assert!(most("anthropic", model, Some("fast"), &usage) > most("anthropic", model, None, &usage));
        assert_eq!(
            most("anthropic", model, None, &usage),
            most("anthropic", model, Some("standard_only"), &usage)
        );
    }
}
