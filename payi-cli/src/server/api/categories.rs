//! Categories and resources: prices of one's own, for what the book does not know.

use std::time::SystemTime;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State, rejection::BytesRejection},
    http::HeaderMap,
};
use payi_core::{ledger::Ledger, money::Money};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::server::{
    api::{
        Api,
        error::Refusal,
        ingest,
        prices::{Prices, UnitPrice, Version},
    },
    format,
};

const KIND: &str = "resource";

/// What is between the parts of a key: no category or resource has it in its name.
const SEPARATOR: char = '\u{1f}';

#[derive(Debug, Deserialize)]
struct NewResource {
    units: Map<String, Value>,
    max_input_units: Option<i64>,
    max_output_units: Option<i64>,
    max_total_units: Option<i64>,
    start_timestamp: Option<jiff::Timestamp>,
}

/// Which part of a list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Page {
    cursor: Option<String>,
    limit: Option<usize>,
}

/// Items of a list after the cursor, and where the next page begins.
fn page(items: Vec<(String, Value)>, page: &Page) -> Value {
    let limit = page.limit.unwrap_or(100).clamp(1, 1_000);
    let after = page.cursor.as_deref().unwrap_or_default();
    let mut rest = items.into_iter().filter(|(key, _)| key.as_str() > after);
    let shown: Vec<_> = rest.by_ref().take(limit).collect();
    let cursor = rest.next().and_then(|_| shown.last().map(|(key, _)| key.clone()));
    json!({ "items": shown.into_iter().map(|(_, item)| item).collect::<Vec<_>>(), "cursor": cursor })
}

/// A price in US dollars for one unit; written with at most 12 decimals.
fn price(unit: &Value, side: &str) -> Result<Option<Money>, Refusal> {
    let refuse = || {
        Refusal::bad(
            "invalid_json",
            "a unit's price is US dollars for one unit, from 0, with at most 12 decimals",
        )
    };
    match unit.get(side) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => {
            // A float's shortest form is what the client wrote; small ones come with an exponent.
            let value = number.as_f64().filter(|v| *v >= 0.0).ok_or_else(refuse)?;
            let text = format!("{value}");
            text.parse().map(Some).map_err(|_| refuse())
        }
        Some(_) => Err(refuse()),
    }
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
    for (_, body) in ledger.documents(KIND, "", usize::MAX)? {
        let Ok(body) = serde_json::from_str::<Value>(&body) else { continue };
        if let (Some(category), Some(resource), Ok(version)) =
            (body["category"].as_str(), body["resource"].as_str(), version(&body))
        {
            prices.add(category, resource, version);
        }
    }
    Ok(())
}

async fn stored(api: &Api) -> Result<Vec<(String, Value)>, Refusal> {
    let found = api.documents(|ledger| ledger.documents(KIND, "", usize::MAX)).await?;
    Ok(found.into_iter().filter_map(|(key, body)| Some((key, serde_json::from_str(&body).ok()?))).collect())
}

fn is(item: &Value, field: &str, wanted: &str) -> bool {
    item[field].as_str() == Some(wanted)
}

/// Categories that have resources of one's own.
pub(crate) async fn list(
    State(api): State<Api>,
    Query(at): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    ingest::admit(&headers)?;
    let names: std::collections::BTreeSet<String> = stored(&api)
        .await?
        .iter()
        .filter_map(|(_, item)| item["category"].as_str().map(Into::into))
        .collect();
    let items = names.into_iter().map(|name| (name.clone(), json!({ "category": name })));
    Ok(Json(page(items.collect(), &at)))
}

/// All resources of a category.
pub(crate) async fn resources(
    State(api): State<Api>,
    Path(category): Path<String>,
    Query(at): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    ingest::admit(&headers)?;
    let mut items = stored(&api).await?;
    items.retain(|(_, item)| is(item, "category", &category));
    Ok(Json(page(items, &at)))
}

/// All versions of a resource.
pub(crate) async fn versions(
    State(api): State<Api>,
    Path((category, resource)): Path<(String, String)>,
    Query(at): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    ingest::admit(&headers)?;
    let mut items = stored(&api).await?;
    items.retain(|(_, item)| is(item, "category", &category) && is(item, "resource", &resource));
    Ok(Json(page(items, &at)))
}

/// A new version of a resource; the category is made with its first one.
pub(crate) async fn create(
    State(api): State<Api>,
    Path((category, resource)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    ingest::admit(&headers)?;
    if category.starts_with("system.") {
        let message = "categories that begin with system. are priced by the book; name one of your own";
        return Err(Refusal::bad("request_processing_error", message));
    }
    if [&category, &resource].iter().any(|name| name.is_empty() || name.chars().any(char::is_control)) {
        return Err(Refusal::bad(
            "request_processing_error",
            "a category and a resource need names of plain text",
        ));
    }
    let new: NewResource = serde_json::from_slice(&body?).map_err(|e| ingest::invalid(&e))?;
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
    let key = [category.as_str(), resource.as_str(), id.as_str()].join(&SEPARATOR.to_string());
    let text = item.to_string();
    api.documents(move |ledger| ledger.put_document(KIND, &key, &text)).await?;
    api.prices.add(&category, &resource, version);
    Ok(Json(item))
}

/// One version of a resource.
pub(crate) async fn retrieve(
    State(api): State<Api>,
    Path((category, resource, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    ingest::admit(&headers)?;
    let found = stored(&api).await?.into_iter().find(|(_, item)| {
        is(item, "category", &category) && is(item, "resource", &resource) && is(item, "resource_id", &id)
    });
    found.map(|(_, item)| Json(item)).ok_or_else(unknown)
}

fn unknown() -> Refusal {
    Refusal::missing("category_resource_not_found", "no such resource was put here")
}

async fn remove(api: &Api, gone: impl Fn(&Value) -> bool) -> Result<Vec<Value>, Refusal> {
    let mut removed = Vec::new();
    for (key, mut item) in stored(api).await? {
        if gone(&item) {
            api.documents(move |ledger| ledger.remove_document(KIND, &key)).await?;
            item["active"] = json!(false);
            removed.push(item);
        }
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
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    ingest::admit(&headers)?;
    remove(&api, |item| is(item, "category", &category)).await.map(|items| Json(Value::Array(items)))
}

/// Takes a resource with all its versions away.
pub(crate) async fn delete_resource(
    State(api): State<Api>,
    Path((category, resource)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    ingest::admit(&headers)?;
    let removed =
        remove(&api, |item| is(item, "category", &category) && is(item, "resource", &resource)).await?;
    Ok(Json(Value::Array(removed)))
}

/// Takes one version of a resource away.
pub(crate) async fn delete_version(
    State(api): State<Api>,
    Path((category, resource, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    ingest::admit(&headers)?;
    let this = |item: &Value| {
        is(item, "category", &category) && is(item, "resource", &resource) && is(item, "resource_id", &id)
    };
    let removed = remove(&api, this).await?;
    removed.into_iter().next().map(Json).ok_or_else(unknown)
}
