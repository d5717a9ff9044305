//! Instances of use cases: one run each. They are made here, or by the events that name them. Where the definition
//! says so, each one has a limit of its own.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
};
use payi_core::{
    context::{Resolved, Text},
    ledger::{Ledger, LedgerStore, foreign_id},
    limits::{Limit, Limits},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::api::{
    Api,
    catalogue::{Kind, is_name, key},
    error::{Path, Refusal},
    kpis, requests,
};

pub(crate) const INSTANCES: Kind = Kind("instance");

fn unknown() -> Refusal {
    Refusal::missing("use_case_instance_not_found", "neither this API nor an event has named this instance")
}

fn instance(case: &str, id: &str, version: Option<u32>, limit: Option<&str>) -> Value {
    json!({ "use_case_id": id, "use_case_name": case, "limit_id": limit, "type_version": version })
}

fn limits(ledger: &Ledger) -> Limits {
    Limits::of(Arc::new(LedgerStore::new(ledger.clone())))
}

/// Makes the limit of an instance, and says its id: always the same, so that two who make it make one.
fn limit_of(ledger: &Ledger, names: &[&str; 2], mut limit: Limit) -> payi_core::Result<String> {
    let id = foreign_id("limit of an instance", &key(names), None).to_string();
    let limits = limits(ledger);
    if limits.get(&id)?.is_none() {
        (limit.id, limit.name) = (id.as_str().into(), names.join(" ").into());
        // Whatever the instance does counts, also what began before it was known here.
        limits.create_since(limit, SystemTime::UNIX_EPOCH)?;
    }
    Ok(id)
}

/// The limit of an instance that an event names. An instance that is new gets one here, unless it would refuse calls:
/// such a limit has to be there before the calls are.
fn limit_named(
    ledger: &Ledger,
    names: &[&str; 2],
    version: Option<u32>,
    limit: Option<Limit>,
) -> payi_core::Result<Option<String>> {
    if let Some(made) = ledger.document(INSTANCES.0, &key(names))? {
        let made: Value = serde_json::from_str(&made).unwrap_or_default();
        let Some(id) = made["limit_id"].as_str() else { return Ok(None) };
        return Ok(limits(ledger).get(id)?.map(|_| id.to_owned()));
    }
    let Some(limit) = limit.filter(|limit| limit.kind == payi_core::limits::Kind::Allow) else {
        return Ok(None);
    };
    let id = limit_of(ledger, names, limit)?;
    let made = instance(names[0], names[1], version, Some(&id)).to_string();
    // Who came first has made the same.
    ledger.change_document(INSTANCES.0, &key(names), |old| (old.is_none().then_some(made), ()))?;
    Ok(Some(id))
}

impl Api {
    /// Has events count against the limits of the instances they are of.
    pub(crate) async fn limit_instances(&self, mut events: Vec<&mut Resolved>) -> Result<(), Refusal> {
        let named = |who: &&mut Resolved| {
            let case = who.use_case.as_ref()?;
            let id = case.id.as_ref().filter(|_| self.definitions.limits_instances(&case.name))?;
            Some((case.name.to_string(), id.to_string(), case.version))
        };
        let all: Vec<_> = events.iter().map(named).collect();
        let mut new: HashSet<_> = all.iter().flatten().cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        let definitions = Arc::clone(&self.definitions);
        let limits: HashMap<_, String> = self
            .documents(move |ledger| {
                let mut limits = HashMap::new();
                for (case, id, version) in new.drain() {
                    let limit = definitions.limit(&case);
                    if let Some(found) = limit_named(ledger, &[&case, &id], version, limit)? {
                        limits.insert((case, id, version), found);
                    }
                }
                Ok(limits)
            })
            .await?;
        for (who, named) in events.iter_mut().zip(&all) {
            let limit = named.as_ref().and_then(|named| limits.get(named)).map(|id| Text::new(id));
            if let Some(limit) = limit.filter(|limit| !who.limit_ids.contains(limit)) {
                who.limit_ids.push(limit);
            }
        }
        Ok(())
    }
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
    let limit = api.definitions.limit(&case);
    let (version, names) = (api.definitions.version(&case), (case.clone(), id.clone()));
    let limit = match limit {
        Some(limit) => {
            let made = move |ledger: &Ledger| limit_of(ledger, &[&names.0, &names.1], limit);
            Some(api.documents(made).await?)
        }
        None => None,
    };
    let made = instance(&case, &id, version, limit.as_deref());
    INSTANCES.change(&api, &[&case, &id], |_| Ok(made)).await.map(Json)
}

/// As it was made here, or as events name it.
async fn find(api: &Api, case: &str, id: &str) -> Result<Value, Refusal> {
    match INSTANCES.find(api, &[case, id]).await? {
        Some(Value::Null) => return Err(unknown()),
        Some(made) => return Ok(made),
        None => {}
    }
    let (name, of) = (case.to_owned(), id.to_owned());
    let named = api.app.view(move |view| view.instance(&name, &of)).await?;
    named.map(|named| instance(case, id, named.version, None)).ok_or_else(unknown)
}

pub(crate) async fn retrieve(
    State(api): State<Api>,
    Path((case, id)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    find(&api, &case, &id).await.map(Json)
}

/// Takes an instance with its scores and its limit away. Its events stay.
pub(crate) async fn delete(
    State(api): State<Api>,
    Path((case, id)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let gone = find(&api, &case, &id).await?;
    kpis::SCORES.remove_all(&api, &[&case, &id]).await?;
    // What was is not forgotten, because events may still name it.
    INSTANCES.change(&api, &[&case, &id], |_| Ok(Value::Null)).await?;
    if let Some(limit) = gone["limit_id"].as_str().map(ToOwned::to_owned) {
        api.documents(move |ledger| limits(ledger).delete(&limit)).await?;
    }
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
