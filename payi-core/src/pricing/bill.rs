//! The arithmetic of one call, and its explanation line by line.

use std::fmt;

use crate::{
    money::Money,
    usage::{Bucket, Usage},
};

use super::{
    Cost, CostSource, MatchKind, PriceBook, Priced,
    book::Found,
    model::Chosen,
    rate::{Price, REQUEST, Sum, key_name, quoted},
};

/// How a cost came about: the model that was matched, and one line per thing that was used.
///
/// ```
/// # use payi_core::{pricing::{PriceBook, Priced}, usage::{Bucket, Usage}};
/// # let usage = Usage::new().with(Bucket::Input, 1_000).with(Bucket::CacheRead, 500).with(Bucket::Output, 200);
/// # let what = Priced { provider: "openai", model: "gpt-4o-mini-2024-07-18", at_us: 1_795_435_200_000_000,
/// #     service_tier: None, geo: None, usage: &usage };
/// let explanation = PriceBook::embedded().explain(&what);
/// let sum = explanation.lines.iter().filter_map(|line| line.amount).sum();
/// assert_eq!(explanation.cost.amount, sum);
/// println!("{explanation}");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The cost, as [`PriceBook::price`] gives it.
    pub cost: Cost,
    /// The entry of the book that was used; `None` if there is none.
    pub matched: Option<Matched>,
    /// What was used, in the order of the buckets. The amounts sum to the cost, to the last pico-dollar.
    pub lines: Vec<Line>,
}

/// The entry of the book that a call was priced by.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Matched {
    /// Whose price list it is; not the provider asked for where that one resells the model.
    pub provider: Box<str>,
    /// The model's id in the book.
    pub model: Box<str>,
    /// How the name led there.
    pub kind: MatchKind,
    /// The first moment at which the price was in force, in microseconds since 1970; `None` for a price
    /// without a date.
    pub from_us: Option<i64>,
    /// The service tier whose prices were used.
    pub tier: Option<Box<str>>,
    /// The region whose prices were used.
    pub region: Option<Box<str>>,
    /// Where the prices come from: name, version, date, licence and address.
    pub source: Box<str>,
}

/// One line of an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// What was used: a bucket's name, or `requests`.
    pub item: &'static str,
    /// How many, in the bucket's unit.
    pub count: u64,
    /// At which price; `None` if it has none.
    pub rate: Option<UnitPrice>,
    /// What that makes; `None` if it has no price.
    pub amount: Option<Money>,
}

/// A price and what it buys, shown as it is published: `2.5 USD per million tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitPrice {
    /// For all of `units` together (rounded to 10⁻¹² USD).
    pub usd: Money,
    /// How many that are.
    pub units: u32,
    /// What it buys.
    pub per: &'static str,
}

impl fmt::Display for UnitPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} USD per {}", self.usd, self.per)
    }
}

/// What has no price of its own costs what the next in line costs.
pub(super) const fn price_of(bucket: Bucket) -> &'static [Bucket] {
    use Bucket as B;
    match bucket {
        B::CacheRead => &[B::CacheRead, B::Input],
        B::CacheWrite => &[B::CacheWrite, B::Input],
        B::CacheWrite1h => &[B::CacheWrite1h, B::CacheWrite, B::Input],
        B::AudioInput => &[B::AudioInput, B::Input],
        B::AudioCacheRead => &[B::AudioCacheRead, B::CacheRead, B::AudioInput, B::Input],
        B::ImageInput => &[B::ImageInput, B::Input],
        B::ImageCacheRead => &[B::ImageCacheRead, B::CacheRead, B::ImageInput, B::Input],
        B::VideoInput => &[B::VideoInput, B::Input],
        B::Reasoning => &[B::Reasoning, B::Output],
        B::AudioOutput => &[B::AudioOutput, B::Output],
        B::ImageOutput => &[B::ImageOutput, B::Output],
        B::Input => &[B::Input],
        B::Output => &[B::Output],
        B::WebSearches => &[B::WebSearches],
        B::FileSearches => &[B::FileSearches],
        B::AudioMillis => &[B::AudioMillis],
        B::Images => &[B::Images],
        B::Characters => &[B::Characters],
        B::Pages => &[B::Pages],
        B::SearchUnits => &[B::SearchUnits],
    }
}

/// Prices every bucket once; `line` sees the key, the count, the price, and the sum after it.
pub(super) fn bill(
    found: Found,
    chosen: &Chosen<'_>,
    usage: &Usage,
    mut line: impl FnMut(usize, u64, Option<Price>, Sum),
) -> Cost {
    let input_tokens = usage.input_tokens();
    let mut sum = Sum::ZERO;
    let (mut priced, mut unpriced) = (false, false);
    let mut add = |key: usize, count: u64, price: Option<Price>| {
        match price {
            Some(price) => {
                let factor = if token(key) { chosen.factor } else { super::rate::Factor::ONE };
                sum.add(count, price, factor);
                priced = true;
            }
            None => unpriced = true,
        }
        line(key, count, price, sum);
    };
    for (bucket, count) in usage.iter() {
        let least = chosen.least.filter(|&(key, _)| usize::from(key) == bucket as usize);
        let count = least.map_or(count, |(_, least)| count.max(least));
        let rate = price_of(bucket).iter().find_map(|&key| chosen.rates[key as usize]);
        add(bucket as usize, count, rate.map(|rate| rate.at(input_tokens)));
    }
    if let (Some(fee), false) = (chosen.rates[REQUEST], usage.is_empty()) {
        add(REQUEST, 1, Some(fee.at(input_tokens)));
    }
    let source = match (priced, unpriced) {
        (false, true) => return Cost::UNPRICED,
        (_, true) => CostSource::Estimated,
        _ if chosen.guessed || found.kind == MatchKind::Similar => CostSource::Estimated,
        _ => CostSource::Computed,
    };
    Cost { amount: sum.round(), source }
}

/// Regions make tokens dearer, not tools.
fn token(key: usize) -> bool {
    Bucket::ALL.get(key).is_some_and(|bucket| bucket.is_input_token() || bucket.is_output_token())
}

impl PriceBook {
    /// What it costs.
    ///
    /// [`CostSource::Computed`] where the model is in the book under that name;
    /// [`CostSource::Estimated`] where only a similar name is, where part of the usage has no price, or
    /// where nobody has published a price for that time or tier; [`CostSource::Unpriced`] otherwise.
    pub fn price(&self, what: &Priced<'_>) -> Cost {
        let Some(found) = self.find(what.provider, what.model) else { return Cost::UNPRICED };
        bill(found, &self.chosen(found, what), what.usage, |_, _, _, _| ())
    }

    /// What it costs, and why.
    pub fn explain(&self, what: &Priced<'_>) -> Explanation {
        let mut lines = Vec::new();
        let Some(found) = self.find(what.provider, what.model) else {
            let unpriced = |(bucket, count): (Bucket, u64)| Line {
                item: bucket.name(),
                count,
                rate: None,
                amount: None,
            };
            lines.extend(what.usage.iter().map(unpriced));
            return Explanation { cost: Cost::UNPRICED, matched: None, lines };
        };
        let chosen = self.chosen(found, what);
        let mut before = Money::ZERO;
        let cost = bill(found, &chosen, what.usage, |key, count, price, sum| {
            // Each line is the difference of two rounded sums, so that the lines add up to the total.
            let (units, per) = quoted(key);
            let after = sum.round();
            let amount = price.map(|_| Money::from_pico(after.pico() - before.pico()));
            let factor = if token(key) { chosen.factor } else { super::rate::Factor::ONE };
            let rate = price.map(|price| {
                let mut usd = Sum::ZERO;
                usd.add(units.into(), price, factor);
                UnitPrice { usd: usd.round(), units, per }
            });
            before = after;
            lines.push(Line { item: key_name(key), count, rate, amount });
        });
        Explanation { cost, matched: Some(self.matched(found, &chosen)), lines }
    }

    fn chosen(&self, found: Found, what: &Priced<'_>) -> Chosen<'_> {
        self.draft().models[found.model].choose(what.at_us, what.service_tier, what.geo)
    }

    fn matched(&self, found: Found, chosen: &Chosen<'_>) -> Matched {
        let book = self.draft();
        let model = &book.models[found.model];
        let from = chosen.period.map(|period| period.when.from_us);
        Matched {
            provider: book.providers[found.provider].id.clone(),
            model: model.id.clone(),
            kind: found.kind,
            from_us: from.filter(|&from| from != i64::MIN),
            tier: chosen.tier.map(Into::into),
            region: chosen.region.map(Into::into),
            source: book.sources.get(usize::from(model.source)).cloned().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.matched {
            Some(matched) => writeln!(f, "{}/{} ({})", matched.provider, matched.model, matched.kind.name())?,
            None => writeln!(f, "no such model in the book")?,
        }
        for line in &self.lines {
            write!(f, "  {:>12} {:<16}", line.count, line.item)?;
            match (line.rate, line.amount) {
                (Some(rate), Some(amount)) => writeln!(f, " {amount:>18}  at {rate}")?,
                _ => writeln!(f, " {:>18}", "no price")?,
            }
        }
        write!(f, "  {:>12} {:<16} {:>18} USD, {}", "", "total", self.cost.amount, self.cost.source.name())
    }
}
