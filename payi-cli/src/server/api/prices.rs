//! Prices: the book's, and those of one's own, for categories and resources that it does not know.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::SystemTime,
};

use payi_core::{
    money::Money,
    pricing::{Cost, CostSource, Explanation, PriceBook},
};

use crate::server::{
    api::units::{self, Unit},
    request,
};

/// The price of one unit on each side; `None` has no price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnitPrice {
    pub(crate) input: Option<Money>,
    pub(crate) output: Option<Money>,
}

/// A version of a resource: prices from a time on.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) from: SystemTime,
    pub(crate) units: HashMap<String, UnitPrice>,
}

impl Version {
    /// What units cost.
    pub(crate) fn price(&self, units: &[Unit]) -> Priced {
        let (mut sides, mut priced, mut unknown) = (Sides::default(), false, Vec::new());
        for unit in units {
            let price = self.units.get(&unit.name).copied().unwrap_or_default();
            let mut left = Unit { name: unit.name.clone(), input: 0, output: 0 };
            for (count, price, side, rest) in [
                (unit.input, price.input, &mut sides.read, &mut left.input),
                (unit.output, price.output, &mut sides.written, &mut left.output),
            ] {
                match price {
                    Some(price) => {
                        *side += price.times(count);
                        priced |= count > 0;
                    }
                    None => *rest = count,
                }
            }
            if left.input + left.output > 0 {
                unknown.push(left);
            }
        }
        let cost = match (priced, unknown.is_empty()) {
            (_, true) => Cost { amount: sides.total(), source: CostSource::Computed },
            (true, false) => Cost { amount: sides.total(), source: CostSource::Estimated },
            (false, false) => Cost::UNPRICED,
        };
        Priced { cost, sides, unknown, resource_id: Some(self.id.clone()) }
    }
}

/// What some units cost, and how.
#[derive(Clone, Debug)]
pub(crate) struct Priced {
    pub(crate) cost: Cost,
    pub(crate) sides: Sides,
    /// Units that have no price, or no meaning here.
    pub(crate) unknown: Vec<Unit>,
    /// The resource of one's own that they were priced by.
    pub(crate) resource_id: Option<String>,
}

impl Priced {
    /// By the book; beside those without a price there, `meaningless` units are unknown.
    pub(crate) fn by_book(explained: &[Explanation], meaningless: Vec<Unit>) -> Self {
        let mut sides = Sides::default();
        let lines = || explained.iter().flat_map(|part| &part.lines);
        for line in lines() {
            let side = if units::is_output(line.item) { &mut sides.written } else { &mut sides.read };
            *side += line.amount.unwrap_or_default();
        }
        let without = lines().filter(|line| line.rate.is_none());
        let mut unknown = units::named(without.map(|line| (line.item, line.count)));
        unknown.extend(meaningless);
        Self { cost: request::sum(explained), sides, unknown, resource_id: None }
    }
}

/// How much of a cost was for what was read, and how much for what was written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sides {
    pub(crate) read: Money,
    pub(crate) written: Money,
}

impl Sides {
    /// Both together.
    pub(crate) fn total(self) -> Money {
        self.read + self.written
    }
}

/// What calls are priced by: the book, and prices of one's own.
#[derive(Debug)]
pub(crate) struct Prices {
    book: &'static PriceBook,
    /// By category and resource, newest last.
    own: RwLock<HashMap<(String, String), Vec<Version>>>,
}

impl Prices {
    /// The book alone.
    pub(crate) fn of(book: &'static PriceBook) -> Self {
        Self { book, own: RwLock::default() }
    }

    /// The book.
    pub(crate) fn book(&self) -> &'static PriceBook {
        self.book
    }

    /// The version in force at a time; before the first one, the first.
    pub(crate) fn find(&self, category: &str, resource: Option<&str>, at: SystemTime) -> Option<Version> {
        let all = self.own.read().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return None;
        }
        let versions = all.get(&(category.to_owned(), resource?.to_owned()))?;
        versions.iter().rev().find(|v| v.from <= at).or_else(|| versions.first()).cloned()
    }

    /// Adds a version.
    pub(crate) fn add(&self, category: &str, resource: &str, version: Version) {
        let mut all = self.own.write().unwrap_or_else(PoisonError::into_inner);
        let versions = all.entry((category.into(), resource.into())).or_default();
        versions.push(version);
        versions.sort_by_key(|v| v.from);
    }

    /// Takes versions away: all that are not kept.
    pub(crate) fn retain(&self, kept: impl Fn(&str, &str, &str) -> bool) {
        let mut all = self.own.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(category, resource), versions| {
            versions.retain(|v| kept(category, resource, &v.id));
            !versions.is_empty()
        });
    }
}
