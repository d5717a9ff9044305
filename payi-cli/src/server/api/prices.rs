//! Prices of one's own: categories and resources that the book does not know.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::SystemTime,
};

use payi_core::{
    money::Money,
    pricing::{Cost, CostSource},
};

use crate::server::api::units::Unit;

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
    /// What units cost, and those that have no price.
    pub(crate) fn cost(&self, units: &[Unit]) -> (Cost, Vec<Unit>) {
        let mut amount = Money::ZERO;
        let (mut priced, mut unknown) = (false, Vec::new());
        for unit in units {
            let price = self.units.get(&unit.name).copied().unwrap_or_default();
            let mut left = Unit { name: unit.name.clone(), input: 0, output: 0 };
            for (count, price, rest) in
                [(unit.input, price.input, &mut left.input), (unit.output, price.output, &mut left.output)]
            {
                match price {
                    Some(price) => {
                        amount += price.times(count);
                        priced |= count > 0;
                    }
                    None => *rest = count,
                }
            }
            if left.input + left.output > 0 {
                unknown.push(left);
            }
        }
        let source = match (priced, unknown.is_empty()) {
            (_, true) => CostSource::Computed,
            (true, false) => CostSource::Estimated,
            (false, false) => return (Cost::UNPRICED, unknown),
        };
        (Cost { amount, source }, unknown)
    }
}

/// All of them, by category and resource, newest last.
#[derive(Debug, Default)]
pub(crate) struct Prices(RwLock<HashMap<(String, String), Vec<Version>>>);

impl Prices {
    /// The version in force at a time; before the first one, the first.
    pub(crate) fn find(&self, category: &str, resource: Option<&str>, at: SystemTime) -> Option<Version> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return None;
        }
        let versions = all.get(&(category.to_owned(), resource?.to_owned()))?;
        versions.iter().rev().find(|v| v.from <= at).or_else(|| versions.first()).cloned()
    }

    /// Adds a version.
    pub(crate) fn add(&self, category: &str, resource: &str, version: Version) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let versions = all.entry((category.into(), resource.into())).or_default();
        versions.push(version);
        versions.sort_by_key(|v| v.from);
    }

    /// Takes versions away: all that are not kept.
    pub(crate) fn retain(&self, kept: impl Fn(&str, &str, &str) -> bool) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(category, resource), versions| {
            versions.retain(|v| kept(category, resource, &v.id));
            !versions.is_empty()
        });
    }
}
