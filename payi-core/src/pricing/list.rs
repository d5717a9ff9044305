//! What is in the book, to look at.

use super::{
    MatchKind, PriceBook, UnitPrice,
    book::Provider,
    model::{Model, RateSet, When},
    rate::{Factor, Price, Sum, key_name, quoted},
};

/// A model of one provider in the book.
#[derive(Clone, Copy)]
pub struct Entry<'b> {
    book: &'b PriceBook,
    provider: &'b Provider,
    model: &'b Model,
}

/// Prices of an [`Entry`] that hold together.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listed {
    /// The service tier or region they are for; `None` for the usual prices.
    pub of: Option<(Selector, Box<str>)>,
    /// Their first moment, in microseconds since 1970; `None` if they have always held.
    pub from_us: Option<i64>,
    /// The hours of the day (UTC, in seconds) within which they hold; none means all day.
    pub hours: Vec<(u32, u32)>,
    /// They hold on working days only.
    pub working_days: bool,
    /// Nobody has published them: who pays them pays an estimate.
    pub assumed: bool,
    /// What the usual prices are multiplied by, as a fraction.
    pub factor: Option<(u32, u32)>,
    /// One price for each thing that has one.
    pub rates: Vec<ListedRate>,
}

/// A price as the book has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedRate {
    /// What it is for: a bucket's name, or `requests`.
    pub item: &'static str,
    /// The price.
    pub price: UnitPrice,
    /// The price of requests with more than so many input tokens, ascending.
    pub steps: Vec<(u64, UnitPrice)>,
}

/// What singles out a call that pays other prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Its service tier.
    Tier,
    /// Its region.
    Geo,
}

impl PriceBook {
    /// Every model, provider by provider.
    ///
    /// ```
    /// use payi_core::pricing::PriceBook;
    ///
    /// let book = PriceBook::embedded();
    /// let entry = book.models().find(|e| e.provider() == "openai" && e.model() == "gpt-4o").unwrap();
    /// assert_eq!(entry.prices()[0].rates[0].price.to_string(), "2.5 USD per million tokens");
    /// ```
    pub fn models(&self) -> impl Iterator<Item = Entry<'_>> {
        let of = |provider: &'_ Provider| provider.models.clone();
        self.draft().providers.iter().flat_map(move |provider| {
            let models = of(provider).into_iter();
            models.map(move |model| Entry { book: self, provider, model: &self.draft().models[model] })
        })
    }

    /// How many tokens a model writes at most in one answer, reasoning included; `None` if the book does not
    /// say, or knows only a similar model.
    ///
    /// From LiteLLM's data, where hosts and makers publish it; what a vendor changed since is not in it.
    ///
    /// ```
    /// use payi_core::pricing::PriceBook;
    ///
    /// let book = PriceBook::embedded();
    /// assert_eq!(book.max_output_tokens("openai", "gpt-4o-2024-08-06"), Some(16_384));
    /// assert_eq!(book.max_output_tokens("openai", "gpt-4o-of-the-future"), None);
    /// ```
    pub fn max_output_tokens(&self, provider: &str, model: &str) -> Option<u64> {
        let found = self.find(provider, model).filter(|found| found.kind < MatchKind::Similar)?;
        self.draft().models[found.model].most_output
    }

    /// Where the book's prices come from: name, version, date, licence and address of each source.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.draft().sources.iter().map(|source| &**source)
    }
}

impl<'b> Entry<'b> {
    /// The provider's id.
    pub fn provider(&self) -> &'b str {
        &self.provider.id
    }

    /// The model's id.
    pub fn model(&self) -> &'b str {
        &self.model.id
    }

    /// Other ids of the same model.
    pub fn ids(&self) -> impl Iterator<Item = &'b str> {
        self.model.aliases.iter().map(|id| &**id)
    }

    /// Where its usual prices come from.
    pub fn source(&self) -> &'b str {
        let sources = &self.book.draft().sources;
        sources.get(usize::from(self.model.source)).map_or("", |source| source)
    }

    /// How many tokens it writes at most in one answer, reasoning included, if the book says so.
    pub fn max_output_tokens(&self) -> Option<u64> {
        self.model.most_output
    }

    /// Its prices, older ones first; for a call, the last that holds applies. Then those of tiers and regions.
    pub fn prices(&self) -> Vec<Listed> {
        let usual =
            self.model.periods.iter().map(|period| listed(&period.when, &period.rates, Factor::ONE, None));
        let tiers = self.model.tiers.iter().map(|tier| (tier, Selector::Tier));
        let regions = self.model.regions.iter().map(|region| (region, Selector::Geo));
        let others = tiers.chain(regions).map(|(selected, selector)| {
            listed(&selected.when, &selected.rates, selected.factor, Some((selector, selected.name.clone())))
        });
        usual.chain(others).collect()
    }
}

impl std::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("provider", &self.provider()).field("model", &self.model()).finish()
    }
}

fn listed(when: &When, rates: &RateSet, factor: Factor, of: Option<(Selector, Box<str>)>) -> Listed {
    let rates = rates.iter().map(|(key, rate)| {
        let key = usize::from(*key);
        let steps = rate.steps.iter().map(|step| (step.over, published(key, step.price)));
        ListedRate { item: key_name(key), price: published(key, rate.base), steps: steps.collect() }
    });
    Listed {
        of,
        from_us: Some(when.from_us).filter(|&from| from != i64::MIN),
        hours: when.hours.to_vec(),
        working_days: when.working_days.is_some(),
        assumed: when.assumed,
        factor: (factor != Factor::ONE).then(|| (factor.num.get(), factor.den.get())),
        rates: rates.collect(),
    }
}

fn published(key: usize, price: Price) -> UnitPrice {
    let (units, per) = quoted(key);
    let mut usd = Sum::ZERO;
    usd.add(units.into(), price, Factor::ONE);
    UnitPrice { usd: usd.round(), units, per }
}
