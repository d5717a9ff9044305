//! Use cases: their definitions, the versions of these, and the limit that each instance is to have.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
};
use payi_core::{context::Resolved, events::Event, ledger::Ledger, limits::Limit};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::api::{
    Api,
    catalogue::{Kind, Page, is_name, key},
    error::{Path, Query, Refusal},
    ingest, instances, kpis,
    limits::Terms,
};

pub(crate) const DEFINITIONS: Kind = Kind("use_case");

/// What ingest has to know of use cases.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    known: RwLock<HashMap<String, Known>>,
    /// The use cases of which an instance has a limit, or is to have one: also those whose definition says so no more.
    limited: RwLock<HashSet<String>>,
    /// Held by whoever changes a definition, until it is known.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct Known {
    version: u32,
    logging: bool,
    limit: Option<Limit>,
}

impl Definitions {
    /// Reads what was put before.
    pub(crate) fn load(ledger: &Ledger) -> payi_core::Result<Self> {
        let known = Self::default();
        DEFINITIONS.load(ledger)?.iter().for_each(|item| known.learn(item));
        let instances = instances::INSTANCES.load(ledger)?;
        let limited = instances.iter().filter(|item| item["limit_id"].is_string());
        let names = limited.filter_map(|item| item["use_case_name"].as_str().map(Into::into));
        written(&known.limited).extend(names);
        Ok(known)
    }

    fn learn(&self, item: &Value) {
        let Some(name) = item["name"].as_str() else { return };
        let version = item["type_version"].as_u64().and_then(|v| u32::try_from(v).ok()).unwrap_or(1);
        let logging = item["logging_enabled"].as_bool().unwrap_or(true);
        let terms: Option<Terms> = serde_json::from_value(item["limit_config"].clone()).ok();
        let limit = terms.and_then(|terms| terms.limit("instance", name).ok());
        if limit.is_some() {
            written(&self.limited).insert(name.to_owned());
        }
        written(&self.known).insert(name.to_owned(), Known { version, logging, limit });
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, name: &str) {
        written(&self.known).remove(name);
    }

    /// The newest version of a use case that is defined.
    pub(crate) fn version(&self, name: &str) -> Option<u32> {
        read(&self.known).get(name).map(|known| known.version)
    }

    /// Whether instances of a use case may have limits of their own.
    pub(crate) fn limits_instances(&self, name: &str) -> bool {
        read(&self.limited).contains(name)
    }

    /// The limit that a new instance gets, if its definition says that it gets one.
    pub(crate) fn limit(&self, name: &str) -> Option<Limit> {
        read(&self.known).get(name).and_then(|known| known.limit.clone())
    }

    /// An event that names no version is of the newest one; of a use case whose definition says so, no prompt is kept.
    pub(crate) fn apply(&self, event: &mut Event, who: &mut Resolved) {
        let Some(case) = &mut who.use_case else { return };
        let all = read(&self.known);
        let Some(known) = all.get(&*case.name) else { return };
        case.version = case.version.or(Some(known.version));
        if let (false, Some(exchange)) = (known.logging, &mut event.exchange) {
            exchange.request_json = None;
            exchange.response_json.clear();
        }
    }
}

fn read<T>(of: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    of.read().unwrap_or_else(PoisonError::into_inner)
}

fn written<T>(of: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    of.write().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn unknown() -> Refusal {
    Refusal::missing("use_case_not_found", "no use case of this name is defined here")
}

/// A document as an answer: with the id of this request.
pub(crate) fn answered(mut item: Value) -> Json<Value> {
    item["request_id"] = json!(Uuid::now_v7().to_string());
    Json(item)
}

#[derive(Debug, Deserialize)]
struct New {
    name: Option<String>,
    description: Option<String>,
    limit_config: Option<Terms>,
    logging_enabled: Option<bool>,
}

fn description(text: Option<String>) -> Result<String, Refusal> {
    text.filter(|text| !text.trim().is_empty() && text.len() <= 4_096).ok_or_else(|| {
        Refusal::bad("invalid_use_case_description", "a use case needs a description of at most 4,096 bytes")
    })
}

/// Defines a use case; its first version is 1.
pub(crate) async fn create(
    State(api): State<Api>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let new: New = ingest::json(&body?)?;
    let name = new.name.filter(|name| is_name(name)).ok_or_else(|| {
        Refusal::bad(
            "invalid_use_case_name",
            "a use case needs a name of at most 256 characters of plain text",
        )
    })?;
    let item = json!({
        "name": name, "description": description(new.description)?, "type_version": 1,
        "limit_config": new.limit_config.as_ref().map(limit).transpose()?,
        "logging_enabled": new.logging_enabled.unwrap_or(true),
    });
    put(&api, name, |old| match old {
        None => Ok(item),
        Some(_) => Err(Refusal::bad("use_case_already_exists", "a use case of this name is defined already")),
    })
    .await
}

/// Makes of a definition what `change` says, and has ingest learn of it before anybody else changes one: what was
/// written last is what is known.
async fn put(
    api: &Api,
    name: String,
    change: impl FnOnce(Option<Value>) -> Result<Value, Refusal> + Send + 'static,
) -> Result<Json<Value>, Refusal> {
    let definitions = Arc::clone(&api.definitions);
    let put = api.documents(move |ledger| {
        let _turn = definitions.turn();
        let put = DEFINITIONS.change_in(ledger, &key(&[&name]), change)?;
        if let Ok(item) = &put {
            definitions.learn(item);
        }
        Ok(put)
    });
    put.await?.map(answered)
}

/// The definitions, by their names.
pub(crate) async fn list(State(api): State<Api>, Query(at): Query<Page>) -> Result<Json<Value>, Refusal> {
    DEFINITIONS.page(&api, &[], (&at, at.use_case_name.as_deref()), |item| answered(item).0).await.map(Json)
}

pub(crate) async fn retrieve(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    DEFINITIONS.find(&api, &[&name]).await?.map(answered).ok_or_else(unknown)
}

/// Takes a definition with its KPIs away. Events of the use case stay.
pub(crate) async fn delete(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    let gone = DEFINITIONS.find(&api, &[&name]).await?.ok_or_else(unknown)?;
    let definitions = Arc::clone(&api.definitions);
    let remove = api.documents(move |ledger| {
        let _turn = definitions.turn();
        kpis::DEFINITIONS.remove_in(ledger, &[&name])?;
        let removed = ledger.remove_document(DEFINITIONS.0, &key(&[&name]))?;
        definitions.forget(&name);
        Ok(removed)
    });
    if remove.await? { Ok(answered(gone)) } else { Err(unknown()) }
}

async fn change(
    api: &Api,
    name: &str,
    change: impl FnOnce(&mut Value) -> Result<(), Refusal> + Send + 'static,
) -> Result<Json<Value>, Refusal> {
    put(api, name.to_owned(), |old| {
        let mut item = old.ok_or_else(unknown)?;
        change(&mut item)?;
        Ok(item)
    })
    .await
}

/// Another description, or whether prompts are kept.
pub(crate) async fn update(
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let new: New = ingest::json(&body?)?;
    let text = new.description.map(|text| description(Some(text))).transpose()?;
    change(&api, &name, move |item| {
        if let Some(text) = text {
            item["description"] = json!(text);
        }
        if let Some(logging) = new.logging_enabled {
            item["logging_enabled"] = json!(logging);
        }
        Ok(())
    })
    .await
}

/// The next version: what events that name none belong to from now on.
pub(crate) async fn increment_version(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    change(&api, &name, |item| {
        item["type_version"] = json!(item["type_version"].as_u64().unwrap_or(1) + 1);
        Ok(())
    })
    .await
}

/// The limit that each new instance is to have, if there can be such a limit.
fn limit(config: &Terms) -> Result<Value, Refusal> {
    config.limit("instance", "instance").map(|_| config.json())
}

pub(crate) async fn set_limit(
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let config = limit(&ingest::json(&body?)?)?;
    change(&api, &name, move |item| {
        item["limit_config"] = config;
        Ok(())
    })
    .await
}

pub(crate) async fn delete_limit(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    change(&api, &name, |item| {
        item["limit_config"] = Value::Null;
        Ok(())
    })
    .await
}
