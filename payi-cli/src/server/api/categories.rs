//! Categories and resources: those of the price book to look at, and prices of one's own for what it does not know.

use std::time::SystemTime;

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
};
use payi_core::{ledger::Ledger, money::Money};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::server::{
    api::{
        Api, answer,
        book::{self, SYSTEM},
        catalogue::{Kind, Page, is_name, key},
        error::{Path, Query, Refusal},
        ingest,
        prices::{Prices, UnitPrice, Version},
    },
    format,
};

const RESOURCES: Kind = Kind("resource");

#[derive(Debug, Deserialize)]
struct NewResource {
    units: Map<String, Value>,
    max_input_units: Option<i64>,
    max_output_units: Option<i64>,
    max_total_units: Option<i64>,
    start_timestamp: Option<jiff::Timestamp>,
}

/// A price in US dollars for one unit; written with at most 12 decimals.
fn price(unit: &Value, side: &str) -> Result<Option<Money>, Refusal> {
    let Some(price) = unit.get(side).filter(|price| !price.is_null()) else { return Ok(None) };
    let price = answer::dollars(price).filter(|price| *price >= Money::ZERO);
    price.map(Some).ok_or_else(|| {
        Refusal::bad(
            "invalid_json",
            "a unit's price is US dollars for one unit, from 0, with at most 12 decimals",
        )
    })
}

fn version(body: &Value) -> Result<Version, Refusal> {
    let units = body["units"].as_object().cloned().unwrap_or_default();
    let mut prices = std::collections::HashMap::new();
    for (name, unit) in units {
        let both = UnitPrice { input: price(&unit, "input_price")?, output: price(&unit, "output_price")? };
        prices.insert(name, both);
    }
    let from = body["start_timestamp"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let from = from.and_then(|at| SystemTime::try_from(at).ok()).unwrap_or(SystemTime::UNIX_EPOCH);
    Ok(Version { id: body["resource_id"].as_str().unwrap_or_default().to_owned(), from, units: prices })
}

/// Reads what was put before.
pub(crate) fn load(ledger: &Ledger, prices: &Prices) -> payi_core::Result<()> {
    for body in RESOURCES.load(ledger)? {
        if let (Some(category), Some(resource), Ok(version)) =
            (body["category"].as_str(), body["resource"].as_str(), version(&body))
        {
            prices.add(category, resource, version);
        }
    }
    Ok(())
}

fn is(item: &Value, field: &str, wanted: &str) -> bool {
    item[field].as_str() == Some(wanted)
}

/// Refuses to change what is the book's.
fn of_ones_own(category: &str) -> Result<(), Refusal> {
    if category.starts_with(SYSTEM) {
        let message = "categories that begin with system. are priced by the book; name one of your own";
        return Err(Refusal::bad("request_processing_error", message));
    }
    Ok(())
}

/// What is below these names, in the book or of one's own.
async fn below(api: &Api, category: &str, resource: Option<&str>) -> Result<Vec<(String, Value)>, Refusal> {
    if category.starts_with(SYSTEM) {
        return Ok(book::resources(api.prices.book(), category, resource));
    }
    let names: Vec<&str> = std::iter::once(category).chain(resource).collect();
    RESOURCES.all(api, &names).await
}

/// The categories of the book, and those that have resources of one's own.
pub(crate) async fn list(State(api): State<Api>, Query(at): Query<Page>) -> Result<Json<Value>, Refusal> {
    let mut names = book::categories(api.prices.book());
    let own = RESOURCES.all(&api, &[]).await?;
    names.extend(own.iter().filter_map(|(_, item)| item["category"].as_str().map(Into::into)));
    let items = names.into_iter().map(|name| (name.clone(), json!({ "category": name })));
    Ok(Json(at.of(items.collect())))
}

/// All resources of a category.
pub(crate) async fn resources(
    State(api): State<Api>,
    Path(category): Path<String>,
    Query(at): Query<Page>,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(at.of(below(&api, &category, None).await?)))
}

/// All versions of a resource.
pub(crate) async fn versions(
    State(api): State<Api>,
    Path((category, resource)): Path<(String, String)>,
    Query(at): Query<Page>,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(at.of(below(&api, &category, Some(&resource)).await?)))
}

/// A new version of a resource; the category is made with its first one.
pub(crate) async fn create(
    State(api): State<Api>,
    Path((category, resource)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    of_ones_own(&category)?;
    if ![&category, &resource].iter().all(|name| is_name(name)) {
        return Err(Refusal::bad(
            "request_processing_error",
            "a category and a resource need names of plain text",
        ));
    }
    let new: NewResource = ingest::json(&body?)?;
    if new.units.is_empty() {
        return Err(Refusal::bad(
            "required_field_missing",
            "a resource needs the price of at least one unit",
        ));
    }
    let from =
        new.start_timestamp.and_then(|at| SystemTime::try_from(at).ok()).unwrap_or_else(SystemTime::now);
    let id = Uuid::now_v7().to_string();
    let item = json!({
        "active": true, "category": category, "resource": resource, "resource_id": id, "proxy_allowed": false,
        "start_timestamp": format::iso(from), "units": new.units, "max_input_units": new.max_input_units,
        "max_output_units": new.max_output_units, "max_total_units": new.max_total_units,
    });
    let version = version(&item)?;
    let put = item.clone();
    RESOURCES.change(&api, &[&category, &resource, &id], |_| Ok(put)).await?;
    api.prices.add(&category, &resource, version);
    Ok(Json(item))
}

/// One version of a resource.
pub(crate) async fn retrieve(
    State(api): State<Api>,
    Path((category, resource, id)): Path<(String, String, String)>,
) -> Result<Json<Value>, Refusal> {
    if category.starts_with(SYSTEM) {
        let mut all = below(&api, &category, Some(&resource)).await?.into_iter();
        return all
            .find(|(_, item)| is(item, "resource_id", &id))
            .map(|(_, item)| Json(item))
            .ok_or_else(unknown);
    }
    RESOURCES.find(&api, &[&category, &resource, &id]).await?.map(Json).ok_or_else(unknown)
}

fn unknown() -> Refusal {
    Refusal::missing(
        "category_resource_not_found",
        "neither the book nor anybody here has a price for such a resource",
    )
}

/// Takes all below `names` away.
async fn remove(api: &Api, names: &[&str]) -> Result<Vec<Value>, Refusal> {
    of_ones_own(names[0])?;
    let mut removed = Vec::new();
    for (key, mut item) in RESOURCES.all(api, names).await? {
        RESOURCES.remove(api, key).await?;
        item["active"] = json!(false);
        removed.push(item);
    }
    if removed.is_empty() {
        return Err(unknown());
    }
    api.prices.retain(|_, _, id| !removed.iter().any(|item| is(item, "resource_id", id)));
    Ok(removed)
}

/// Takes a category with all its resources away. What was charged stays charged.
pub(crate) async fn delete_category(
    State(api): State<Api>,
    Path(category): Path<String>,
) -> Result<Json<Value>, Refusal> {
    remove(&api, &[&category]).await.map(|items| Json(Value::Array(items)))
}

/// Takes a resource with all its versions away.
pub(crate) async fn delete_resource(
    State(api): State<Api>,
    Path((category, resource)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    remove(&api, &[&category, &resource]).await.map(|items| Json(Value::Array(items)))
}

/// Takes one version of a resource away.
pub(crate) async fn delete_version(
    State(api): State<Api>,
    Path((category, resource, id)): Path<(String, String, String)>,
) -> Result<Json<Value>, Refusal> {
    of_ones_own(&category)?;
    let mut gone = RESOURCES.find(&api, &[&category, &resource, &id]).await?.ok_or_else(unknown)?;
    RESOURCES.remove(&api, key(&[&category, &resource, &id])).await?;
    api.prices.retain(|_, _, of| of != id);
    gone["active"] = json!(false);
    Ok(Json(gone))
}
