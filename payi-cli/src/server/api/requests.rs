//! Results and properties of requests that were ingested before.

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
};
use payi_core::{context::Properties, ledger::StoredEvent};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::server::api::{
    Api, answer,
    error::{Path, Refusal},
    ingest, wire,
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

fn result_of(api: &Api, stored: StoredEvent) -> Json<Value> {
    let understood = answer::recalled(stored, &api.prices);
    Json(json!({ "xproxy_result": answer::result(&understood, &answer::Limited::default()) }))
}

/// The result, by the id that ingest gave.
pub(crate) async fn result(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let id = id.parse().map_err(|_| unknown())?;
    Ok(result_of(&api, find(&api, id).await?))
}

/// The result, by the provider's response id.
pub(crate) async fn result_by_response(
    State(api): State<Api>,
    Path((category, response)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    Ok(result_of(&api, by_response(&api, category, response).await?))
}

#[derive(Debug, Deserialize)]
struct Given {
    properties: Map<String, Value>,
}

/// The properties in a body.
pub(crate) fn given(body: &[u8]) -> Result<Properties, Refusal> {
    ingest::json::<Given>(body).map(|given| wire::properties(Some(given.properties)))
}

async fn set(
    api: &Api,
    stored: StoredEvent,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let properties = given(&body?)?;
    if !api.writer.set_properties(stored.seq, properties).await? {
        return Err(unknown());
    }
    Ok(Json(json!({ "request_id": stored.event.id.to_string() })))
}

/// Lays properties over a request's, by the id that ingest gave.
pub(crate) async fn properties(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let id = id.parse().map_err(|_| unknown())?;
    set(&api, find(&api, id).await?, body).await
}

/// The same by the provider's response id.
pub(crate) async fn properties_by_response(
    State(api): State<Api>,
    Path((category, response)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    set(&api, by_response(&api, category, response).await?, body).await
}
