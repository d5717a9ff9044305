//! The price book as Pay-i lists prices: a category for each provider, a resource for each model, and a version of it
//! for each time at which its prices changed.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, SystemTime},
};

use payi_core::{
    ledger::foreign_id,
    money::Money,
    pricing::{Entry, Listed, PriceBook, categories_of, provider_of},
};
use serde_json::{Map, Value, json};

use crate::server::{
    api::{catalogue::key, units},
    format,
};

/// What the names of the book's categories begin with; nobody else may use it.
pub(crate) const SYSTEM: &str = "system.";

/// The names of all its categories.
pub(crate) fn categories(book: &PriceBook) -> BTreeSet<String> {
    book.models().flat_map(|entry| categories_of(entry.provider())).collect()
}

/// The resources of a category, or the versions of one of them by any of its names, with what they are sorted by.
pub(crate) fn resources(book: &PriceBook, category: &str, resource: Option<&str>) -> Vec<(String, Value)> {
    let provider = provider_of(category);
    let named = |entry: &Entry<'_>| {
        resource.is_none_or(|name| entry.model() == name || entry.ids().any(|id| id == name))
    };
    let of = book.models().filter(|entry| entry.provider() == provider && named(entry));
    let now = SystemTime::now();
    of.flat_map(|entry| versions(&entry, category, now)).collect()
}

/// The usual prices of a model, a version for each time from which they hold: those of tiers, regions and hours of the
/// day, for which Pay-i has no words, are left out where there are others.
fn versions(entry: &Entry<'_>, category: &str, now: SystemTime) -> Vec<(String, Value)> {
    let usual: Vec<Listed> = entry.prices().into_iter().filter(|listed| listed.of.is_none()).collect();
    let all_day = |listed: &&Listed| listed.hours.is_empty() && !listed.working_days;
    let some: Vec<&Listed> = usual.iter().filter(all_day).collect();
    let mut some = if some.is_empty() { usual.iter().collect() } else { some };
    some.dedup_by_key(|listed| listed.from_us);
    let from = |listed: &Listed| {
        let us = listed.from_us.and_then(|us| u64::try_from(us).ok()).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_micros(us)
    };
    let ends = some.iter().skip(1).map(|next| Some(from(next))).chain([None]);
    let version = |(listed, until): (&&Listed, Option<SystemTime>)| {
        let start = from(listed);
        let id = foreign_id(category, entry.model(), Some(start)).to_string();
        let (units, large) = units_of(listed);
        let item = json!({
            "active": start <= now && until.is_none_or(|until| now < until),
            "category": category, "resource": entry.model(), "resource_id": id, "proxy_allowed": false,
            "start_timestamp": format::iso(start), "end_timestamp": until.map(format::iso), "units": units,
            "large_context_threshold": large, "max_input_units": Value::Null,
            "max_output_units": entry.max_output_tokens(), "max_total_units": Value::Null,
            "description": entry.source(),
        });
        (key(&[entry.model(), &format::iso(start)]), item)
    };
    some.iter().zip(ends).map(version).collect()
}

/// The prices of single units in US dollars, and the count of input tokens above which the `_large_context` ones hold.
fn units_of(listed: &Listed) -> (Map<String, Value>, Option<u64>) {
    let mut prices: HashMap<String, [Option<f64>; 2]> = HashMap::new();
    let mut put = |item: &str, suffix: &str, price: payi_core::pricing::UnitPrice| {
        let (name, written) = units::of_item(item);
        prices.entry(format!("{name}{suffix}")).or_default()[usize::from(written)] =
            Some(of_one(price.usd, price.units));
    };
    let mut large = None;
    for rate in &listed.rates {
        put(rate.item, "", rate.price);
        if let Some((over, price)) = rate.steps.first() {
            large = Some(*over);
            put(rate.item, "_large_context", *price);
        }
    }
    let unit = |(name, [input, output]): (String, [Option<f64>; 2])| {
        (name, json!({ "input_price": input, "output_price": output }))
    };
    (prices.into_iter().map(unit).collect(), large)
}

/// A float, as the API has it: the nearest one to the exact price.
fn of_one(usd: Money, units: u32) -> f64 {
    usd.to_string().parse::<f64>().map_or(0.0, |usd| usd / f64::from(units))
}
