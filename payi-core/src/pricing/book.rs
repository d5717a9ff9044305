//! The book: its parts, and the way from a provider's and a model's name to a price.

use std::{borrow::Cow, collections::HashMap, fmt, sync::LazyLock};

use crate::error::{Error, Kind};

use super::{
    MatchKind, format,
    memo::Memo,
    model::Model,
    pattern::{Fit, Pattern, deployed, normalise, without_stamp},
};

/// Prices by provider, model and date.
///
/// ```
/// use payi_core::pricing::{CostSource, PriceBook, Priced};
/// use payi_core::usage::{Bucket, Usage};
///
/// let usage = Usage::new().with(Bucket::Input, 1_000).with(Bucket::Output, 200);
/// let what = Priced {
///     provider: "openai",
///     model: "gpt-4o-mini",
///     at_us: 1_795_435_200_000_000, // 2026-11-23
///     service_tier: None,
///     geo: None,
///     usage: &usage,
/// };
/// let cost = PriceBook::embedded().price(&what);
/// assert_eq!(cost.amount.to_string(), "0.00027"); // 1,000 at 0.15 and 200 at 0.60 USD per million
/// assert_eq!(cost.source, CostSource::Computed);
///
/// // A model that nobody has a price for is unpriced: that is not the same as free.
/// let cost = PriceBook::embedded().price(&Priced { model: "our-own-model", ..what });
/// assert_eq!(cost.known(), None);
/// ```
#[derive(Default)]
pub struct PriceBook {
    draft: Draft,
    /// Lower-case id → provider.
    providers: HashMap<Box<str>, usize>,
    memo: Memo,
}

/// The embedded book, from the lowest layer to the highest.
pub(super) const EMBEDDED: [&str; 4] = [
    include_str!("book/genai-prices.txt"),
    include_str!("book/litellm.txt"),
    include_str!("book/corrections.txt"),
    include_str!("book/limits.txt"),
];

/// A book while it is being read.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub(super) providers: Vec<Provider>,
    pub(super) models: Vec<Model>,
    pub(super) sources: Vec<Box<str>>,
    pub(super) holidays: Vec<(Box<str>, Box<[i64]>)>,
    /// Whether a book is laid over another: what it adds then comes before what was there.
    pub(super) over: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Provider {
    pub(super) id: Box<str>,
    pub(super) also: Vec<Pattern>,
    pub(super) fallback: Vec<Box<str>>,
    pub(super) models: Vec<usize>,
    /// Lower-case id or alias → model.
    by_id: HashMap<Box<str>, usize>,
}

/// A model found by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) provider: usize,
    pub(super) model: usize,
    pub(super) kind: MatchKind,
}

impl Draft {
    pub(super) fn source(&mut self, text: &str) {
        self.sources.push(text.into());
    }

    pub(super) fn newest_source(&self) -> u16 {
        u16::try_from(self.sources.len().saturating_sub(1)).unwrap_or(u16::MAX)
    }

    pub(super) fn provider(&mut self, id: &str) -> usize {
        let id = id.to_lowercase();
        self.providers.iter().position(|provider| *provider.id == *id).unwrap_or_else(|| {
            self.providers.push(Provider { id: id.into(), ..Provider::default() });
            self.providers.len() - 1
        })
    }

    pub(super) fn model(&mut self, provider: usize, id: &str) -> usize {
        let key: Box<str> = id.to_lowercase().into();
        let known = self.providers[provider].by_id.get(&key).copied();
        if let Some(model) = known.filter(|&model| self.models[model].id.eq_ignore_ascii_case(id)) {
            return model;
        }
        let model = self.models.len();
        self.models.push(Model { id: id.into(), ..Model::default() });
        let at = if self.over { 0 } else { self.providers[provider].models.len() };
        self.providers[provider].models.insert(at, model);
        self.providers[provider].by_id.insert(key, model);
        model
    }

    /// The entry of a model, by its id or alias in an indexed book.
    pub(super) fn known(&self, provider: &str, model: &str) -> Option<Model> {
        let provider = self.providers.iter().find(|p| p.id.eq_ignore_ascii_case(provider))?;
        provider.by_id.get(&*model.to_lowercase()).map(|&model| self.models[model].clone())
    }

    /// Gives ids to a model, and takes them from those that had them in the book below.
    pub(super) fn alias(&mut self, provider: usize, model: usize, ids: &[Box<str>]) {
        if self.over {
            for &other in &self.providers[provider].models {
                self.models[other].aliases.retain(|alias| !ids.contains(alias));
            }
        }
        self.models[model].aliases.extend_from_slice(ids);
    }

    /// Ids before aliases, earlier models before later ones.
    fn index(&mut self) {
        for provider in &mut self.providers {
            provider.by_id.clear();
            for &model in &provider.models {
                let id = self.models[model].id.to_lowercase();
                provider.by_id.entry(id.into()).or_insert(model);
            }
            for &model in &provider.models {
                for alias in &self.models[model].aliases {
                    provider.by_id.entry(alias.clone()).or_insert(model);
                }
            }
        }
    }
}

impl PriceBook {
    /// The book that is part of this version of payi.
    ///
    /// The first use reads it (a few milliseconds, done where payi is started).
    pub fn embedded() -> &'static Self {
        static BOOK: LazyLock<PriceBook> = LazyLock::new(|| {
            let mut draft = Draft::default();
            for text in EMBEDDED {
                // A test reads them; a book that cannot be read leaves calls unpriced, and the host alive.
                if let Err(error) = format::lay_over(&mut draft, text) {
                    crate::error::say!(error, %error, "the embedded price book is damaged");
                }
            }
            draft.index();
            PriceBook::of(draft)
        });
        &BOOK
    }

    /// This book with another laid over it: what the other names is replaced, the rest stays.
    ///
    /// ```
    /// use payi_core::pricing::PriceBook;
    ///
    /// let book = PriceBook::embedded().with_book(
    ///     "payi prices 1\n\
    ///      source contract 2026 2026-11-01 - -\n\
    ///      provider openai\n\
    ///      model gpt-4o\n\
    ///      price input=2 output=8\n\
    ///      price from=2027-01-01 input=1.5 output=6\n",
    /// )?;
    /// # Ok::<(), payi_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::is_config`] with the line that cannot be read.
    pub fn with_book(&self, text: &str) -> Result<Self, Error> {
        let mut draft = self.draft.clone();
        format::lay_over(&mut draft, text)?;
        draft.index();
        Ok(Self::of(draft))
    }

    /// The embedded book with the one in a file laid over it: newer prices, or your own, without a rebuild.
    ///
    /// The file is a book as [`with_book`](Self::with_book) reads it, or, where its name ends in
    /// `.toml`, as [`with_toml`](Self::with_toml) does.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`] if the file cannot be read, or with the line that cannot.
    pub fn load(path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|e| {
            let message = format!("the price book {} cannot be read; check the path", path.display());
            Error::with_source(Kind::Config, message, e)
        })?;
        if path.extension().is_none_or(|end| end != "toml") {
            return Self::embedded().with_book(&text);
        }
        #[cfg(feature = "config")]
        return Self::embedded().with_toml(&text);
        #[cfg(not(feature = "config"))]
        Err(Error::new(Kind::Config, "prices in TOML need payi's feature `config`"))
    }

    pub(super) fn of(draft: Draft) -> Self {
        let ids = draft.providers.iter().enumerate().map(|(index, provider)| (provider.id.clone(), index));
        Self { providers: ids.collect(), draft, memo: Memo::default() }
    }

    pub(super) fn draft(&self) -> &Draft {
        &self.draft
    }

    /// The model that is meant, if the book has it.
    pub(super) fn find(&self, provider: &str, model: &str) -> Option<Found> {
        self.memo.get(provider, model, || self.search(provider, model))
    }

    fn search(&self, provider: &str, model: &str) -> Option<Found> {
        let own = self.find_provider(&lower(provider))?;
        let id = lower(model);
        let fallback = self.draft.providers[own].fallback.iter().filter_map(|id| self.find_provider(id));
        let houses: Vec<usize> = std::iter::once(own).chain(fallback).collect();
        let try_all = |id: &str| houses.iter().find_map(|&house| self.in_house(house, id));
        if let Some(found) = try_all(&id) {
            return Some(found);
        }
        let normal = normalise(&id);
        if let Some(found) = normal.as_deref().and_then(try_all) {
            return Some(Found { kind: found.kind.max(MatchKind::Normalised), ..found });
        }
        let azure = &*self.draft.providers[own].id == "azure";
        let model_of = azure.then(|| deployed(normal.as_deref().unwrap_or(&id))).flatten();
        if let Some((found, kind)) = model_of.and_then(|(id, kind)| Some((try_all(id)?, kind))) {
            return Some(Found { kind: found.kind.max(kind), ..found });
        }
        let base = without_stamp(normal.as_deref().unwrap_or(&id))?;
        houses.iter().find_map(|&house| {
            let model = *self.draft.providers[house].by_id.get(base)?;
            Some(Found { provider: house, model, kind: MatchKind::Similar })
        })
    }

    fn in_house(&self, house: usize, id: &str) -> Option<Found> {
        let provider = &self.draft.providers[house];
        let found = |model, kind| Some(Found { provider: house, model, kind });
        if let Some(&model) = provider.by_id.get(id) {
            return found(model, MatchKind::Exact);
        }
        let mut similar = None;
        for &model in &provider.models {
            for fit in self.draft.models[model].patterns.iter().filter_map(|pattern| pattern.matches(id)) {
                match fit {
                    Fit::Same => return found(model, MatchKind::Snapshot),
                    Fit::Similar => similar = similar.or(Some(model)),
                }
            }
        }
        found(similar?, MatchKind::Similar)
    }

    fn find_provider(&self, id: &str) -> Option<usize> {
        let also =
            || self.draft.providers.iter().position(|p| p.also.iter().any(|a| a.matches(id).is_some()));
        self.providers.get(id).copied().or_else(also)
    }
}

fn lower(text: &str) -> Cow<'_, str> {
    let folded = text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase());
    if folded { Cow::Borrowed(text) } else { Cow::Owned(text.to_lowercase()) }
}

impl fmt::Debug for PriceBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PriceBook")
            .field("sources", &self.draft.sources)
            .field("providers", &self.draft.providers.len())
            .field("models", &self.draft.models.len())
            .finish_non_exhaustive()
    }
}
