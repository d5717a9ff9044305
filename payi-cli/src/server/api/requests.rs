//! Results and properties of requests that were ingested before.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::HeaderMap,
};
use payi_core::{ledger::StoredEvent, pricing::PriceBook};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::server::{
    api::{Api, answer, error::Refusal, ingest, wire},
    request::explain,
};

fn unknown() -> Refusal {
    Refusal::missing("request_processing_error", "the ledger has no such request")
}

async fn find(api: &Api, id: Uuid) -> Result<StoredEvent, Refusal> {
    let found = api.app.view(move |view| view.request(id)).await?;
    found.map(|(stored, _)| stored).ok_or_else(unknown)
}

async fn by_response(api: &Api, category: String, response: String) -> Result<StoredEvent, Refusal> {
    let id = api.app.view(move |view| view.by_response(&category, &response)).await?;
    find(api, id.ok_or_else(unknown)?).await
}

fn result_of(stored: &StoredEvent) -> Json<Value> {
    let explanation = explain(stored, PriceBook::embedded());
    Json(json!({ "xproxy_result": answer::result(&stored.event, &stored.who, &explanation, &[], false) }))
}

/// The result, by the id that ingest gave.
pub(crate) async fn result(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    ingest::admit(&headers)?;
    let id = id.parse().map_err(|_| unknown())?;
    Ok(result_of(&find(&api, id).await?))
}

/// The result, by the provider's response id.
pub(crate) async fn result_by_response(
    State(api): State<Api>,
    Path((category, response)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    ingest::admit(&headers)?;
    Ok(result_of(&by_response(&api, category, response).await?))
}

#[derive(Debug, Deserialize)]
struct Properties {
    properties: Map<String, Value>,
}

async fn set(
    api: &Api,
    stored: StoredEvent,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let body: Properties = serde_json::from_slice(&body?).map_err(|e| ingest::invalid(&e))?;
    let properties = wire::properties(Some(body.properties));
    if !api.writer.set_properties(stored.seq, properties).await? {
        return Err(unknown());
    }
    Ok(Json(json!({ "request_id": stored.event.id.to_string() })))
}

/// Lays properties over a request's, by the id that ingest gave.
pub(crate) async fn properties(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    ingest::admit(&headers)?;
    let id = id.parse().map_err(|_| unknown())?;
    set(&api, find(&api, id).await?, body).await
}

/// The same by the provider's response id.
pub(crate) async fn properties_by_response(
    State(api): State<Api>,
    Path((category, response)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    ingest::admit(&headers)?;
    set(&api, by_response(&api, category, response).await?, body).await
}
