//! What was used, in money.
//!
//! A cost always says where it comes from, and an unknown model is *unpriced*, never free.

#![deny(clippy::float_arithmetic, clippy::cast_precision_loss, clippy::cast_possible_truncation)]

mod bill;
mod book;
#[cfg(test)]
mod exact;
mod format;
mod list;
mod memo;
mod model;
mod most;
mod names;
#[cfg(test)]
mod oracle;
mod pattern;
mod query;
mod rate;
#[cfg(test)]
mod right;
#[cfg(test)]
mod tests;
#[cfg(feature = "config")]
mod toml;

pub use bill::{Explanation, Line, Matched, UnitPrice};
pub use book::PriceBook;
pub use list::{Entry, Listed, ListedRate, Selector};
pub use names::{Names, categories_of, provider_of};
pub use query::Query;

use crate::{money::Money, usage::Usage};

/// Where a cost comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CostSource {
    /// The provider's answer carries it.
    Reported,
    /// Counts of the answer at the book's price.
    Computed,
    /// A count or a price had to be guessed.
    Estimated,
    /// No price is known; the amount is zero and means nothing.
    Unpriced,
}

impl CostSource {
    /// Every source, in the order of its code in the ledger.
    pub const ALL: [Self; 4] = [Self::Reported, Self::Computed, Self::Estimated, Self::Unpriced];

    /// Its name in columns, JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Computed => "computed",
            Self::Estimated => "estimated",
            Self::Unpriced => "unpriced",
        }
    }
}

/// What one call cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The amount; [`Money::ZERO`] where the source is [`CostSource::Unpriced`].
    pub amount: Money,
    /// Where it comes from.
    pub source: CostSource,
}

impl Cost {
    /// No price is known.
    pub const UNPRICED: Self = Self { amount: Money::ZERO, source: CostSource::Unpriced };

    /// The amount, or `None` where no price is known.
    pub fn known(self) -> Option<Money> {
        (self.source != CostSource::Unpriced).then_some(self.amount)
    }
}

/// Two parts of one bill: known as well as the less known of them.
impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let source = match (self.source, other.source) {
            (a, b) if a == b => a,
            _ => CostSource::Estimated,
        };
        Self { amount: self.amount + other.amount, source }
    }
}

/// What is to be priced.
#[derive(Clone, Copy, Debug)]
pub struct Priced<'a> {
    /// Whose price list: a provider's id in the book (`openai`, `anthropic`).
    pub provider: &'a str,
    /// The model, as the answer (else the request) names it.
    pub model: &'a str,
    /// When the call started, in microseconds since 1970: prices are dated.
    pub at_us: i64,
    /// The service tier billed (`batch`, `flex`, `priority`), as the answer names it.
    pub service_tier: Option<&'a str>,
    /// The region billed, where its price depends on it.
    pub geo: Option<&'a str>,
    /// What was used.
    pub usage: &'a Usage,
}

/// How a model's name led to an entry of the book, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MatchKind {
    /// It is an id of that model.
    Exact,
    /// It is the model's name with a date, a version or a region.
    Snapshot,
    /// It is another spelling: with a host's path before it, or the date written differently.
    Normalised,
    /// It begins with, or contains, that model's name, or is an unknown snapshot of it. The price is a guess.
    Similar,
}

impl MatchKind {
    /// Its name in JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Snapshot => "snapshot",
            Self::Normalised => "normalised",
            Self::Similar => "similar",
        }
    }
}
