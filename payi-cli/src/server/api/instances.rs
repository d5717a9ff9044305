//! Instances of use cases: one run each. They are made here, or by the events that name them.

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::api::{
    Api,
    catalogue::{Kind, is_name, key},
    error::{Path, Refusal},
    kpis, requests,
};

const INSTANCES: Kind = Kind("instance");

fn unknown() -> Refusal {
    Refusal::missing("use_case_instance_not_found", "neither this API nor an event has named this instance")
}

fn instance(case: &str, id: &str, version: Option<u32>) -> Value {
    json!({ "use_case_id": id, "use_case_name": case, "limit_id": Value::Null, "type_version": version })
}

/// A new instance, of the newest version.
pub(crate) async fn create(State(api): State<Api>, Path(case): Path<String>) -> Result<Json<Value>, Refusal> {
    if !is_name(&case) {
        return Err(Refusal::bad(
            "invalid_use_case_name",
            "a use case's name is at most 256 characters of plain text",
        ));
    }
    let id = Uuid::now_v7().to_string();
    let made = instance(&case, &id, api.definitions.version(&case));
    INSTANCES.change(&api, &[&case, &id], |_| Ok(made)).await.map(Json)
}

/// As it was made here, or as events name it.
async fn find(api: &Api, case: &str, id: &str) -> Result<Value, Refusal> {
    if let Some(made) = INSTANCES.find(api, &[case, id]).await? {
        return Ok(made);
    }
    let (name, of) = (case.to_owned(), id.to_owned());
    let named = api.app.view(move |view| view.instance(&name, &of)).await?;
    named.map(|named| instance(case, id, named.version)).ok_or_else(unknown)
}

pub(crate) async fn retrieve(
    State(api): State<Api>,
    Path((case, id)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    find(&api, &case, &id).await.map(Json)
}

/// Takes an instance with its scores away. Its events stay.
pub(crate) async fn delete(
    State(api): State<Api>,
    Path((case, id)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let gone = find(&api, &case, &id).await?;
    kpis::SCORES.remove_all(&api, &[&case, &id]).await?;
    INSTANCES.remove(&api, key(&[&case, &id])).await?;
    Ok(Json(gone))
}

/// Lays properties over those of an instance.
pub(crate) async fn properties(
    State(api): State<Api>,
    Path((case, id)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let properties = requests::given(&body?)?;
    let found = find(&api, &case, &id).await?;
    let names = [case.as_str(), id.as_str()];
    let changed = INSTANCES.change(&api, &names, move |old| {
        let mut item = old.unwrap_or(found);
        for (name, value) in properties {
            item["properties"][&*name] = json!(value.as_deref());
        }
        Ok(item)
    });
    changed.await.map(Json)
}
