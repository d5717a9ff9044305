//! Limits: Pay-i's resources over the limits of the ledger.
//!
//! Pay-i's clients know limits that are attached by their id. What else a limit may say here (whose, over
//! which window, how strictly) is told in further fields that those clients ignore, and may be given.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
};
use payi_core::{
    context::Text,
    ledger::LedgerStore,
    limits::{Definition, Kind, Limit, LimitState, Limits, Policy, Scope, Subject, Totals, Window},
    money::Money,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::server::{
    api::{
        Api,
        answer::{self, number},
        catalogue::{self, Page},
        error::{Path, Query, Refusal},
        ingest,
    },
    format,
};

/// What a limit says, whichever it is: of a limit's own, or of those that a use case's instances are to have.
#[derive(Debug, Deserialize)]
pub(crate) struct Terms {
    #[serde(default)]
    max: Value,
    limit_type: Option<String>,
    threshold: Option<Value>,
    properties: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
struct NewLimit {
    #[serde(default)]
    limit_name: String,
    limit_id: Option<String>,
    #[serde(flatten)]
    terms: Terms,
    /// Of ours: `attached`, `each_user`, `each_account`, `each_use_case`, `everyone`.
    scope: Option<Scope>,
    /// Of ours: as `payi limits` writes it.
    window: Option<String>,
    /// Of ours: `strict`, `estimate`, `inject_max_tokens`.
    policy: Option<Policy>,
}

#[derive(Debug, Deserialize)]
struct Changes {
    limit_name: Option<String>,
    max: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct NewProperties {
    properties: Map<String, Value>,
}

/// Which of the limits.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Named {
    limit_name: Option<String>,
}

/// From which moment a limit counts anew.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Since {
    #[serde(rename = "resetDate")]
    reset_date: Option<jiff::Timestamp>,
}

/// A limit, with what it has come to.
struct Shown {
    definition: Definition,
    totals: Totals,
}

impl Api {
    /// Reads the limits, over a connection that nobody who writes waits for.
    async fn look_at_limits<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Limits) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.app.read(move |ledger| work(&Limits::of(Arc::new(LedgerStore::new(ledger.clone()))))).await?
    }

    /// Works with the limits, off the threads that serve connections.
    async fn limits<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Limits, &LedgerStore) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let ledger = self.ledger.clone();
        let done = tokio::task::spawn_blocking(move || {
            let store = Arc::new(LedgerStore::new(ledger));
            work(&Limits::of(Arc::<LedgerStore>::clone(&store)), &store)
        });
        done.await.map_err(|_| Refusal::unavailable())?
    }

    /// What is known of the limits with these ids.
    pub(crate) async fn named_limits(&self, ids: &[Text]) -> Result<NamedLimits, Refusal> {
        if ids.is_empty() {
            return Ok(NamedLimits::default());
        }
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        self.limits(move |limits, _| {
            let mut named = NamedLimits::default();
            for id in ids {
                match limits.get(&id)? {
                    None => named.unknown.push(id),
                    Some(definition) if definition.limit.kind == Kind::Block => named.blocking.push(id),
                    Some(_) => {}
                }
            }
            Ok(named)
        })
        .await
    }
}

/// Limits that events name, by what is to be said of them.
#[derive(Debug, Default)]
pub(crate) struct NamedLimits {
    blocking: Vec<String>,
    /// Those that nobody has made.
    pub(crate) unknown: Vec<String>,
}

impl NamedLimits {
    /// Refuses an event that names a block limit: it has been spent already, and only the caller can refuse it.
    pub(crate) fn admit(&self, ids: &[Text]) -> Result<(), Refusal> {
        let blocks = |id: &Text| self.blocking.iter().any(|blocking| **blocking == **id);
        let blocking: Vec<String> = ids.iter().filter(|id| blocks(id)).map(ToString::to_string).collect();
        if blocking.is_empty() {
            return Ok(());
        }
        let message = format!(
            "{} is a block limit: it refuses calls before they are made, and takes no events afterwards",
            blocking.join(", ")
        );
        Err(Refusal { limit_ids: blocking, ..Refusal::bad("blocking_limit_not_allowed", message) })
    }
}

impl From<payi_core::Error> for Refusal {
    fn from(e: payi_core::Error) -> Self {
        if e.is_config() {
            return Self::bad("request_processing_error", e.to_string());
        }
        tracing::error!(error = %e, "payi serve: the limits could not be read or written");
        Self::unavailable()
    }
}

fn missing(id: &str) -> Refusal {
    Refusal::missing("limit_not_found", format!("there is no limit {id:?}"))
}

fn find(limits: &Limits, id: &str) -> Result<Definition, Refusal> {
    limits.get(id)?.ok_or_else(|| missing(id))
}

fn shown(limits: &Limits, definition: Definition) -> Result<Shown, Refusal> {
    // It may have been removed since.
    let totals = limits.totals(&definition.limit.id)?.unwrap_or_default();
    Ok(Shown { definition, totals })
}

/// A JSON number of US dollars, or of what else the limit counts.
fn amount(limit: &Limit, amount: i128) -> Value {
    match limit.max_usd() {
        Some(_) => number(Money::from_pico(amount)),
        None => i64::try_from(amount).map_or(Value::Null, Value::from),
    }
}

fn totals(limit: &Limit, totals: &Totals) -> Value {
    let tally = totals.tally;
    let of = |state: LimitState| tally.of(state);
    // A counter is one sum: nobody knows what of it was read and what was written.
    json!({
        "cost": {
            "input": { "base": Value::Null },
            "output": { "base": Value::Null },
            "total": {
                "base": amount(limit, totals.settled),
                "overrun_base": amount(limit, totals.overrun),
            },
        },
        "requests": {
            "ok": of(LimitState::Ok), "exceeded": of(LimitState::Exceeded), "overrun": of(LimitState::Overrun),
            "blocked": of(LimitState::Blocked), "blocked_external": of(LimitState::BlockedExternal),
            "failed": of(LimitState::Failed), "total": tally.total(),
        },
    })
}

impl Shown {
    fn json(&self) -> Value {
        let (limit, definition) = (&self.definition.limit, &self.definition);
        json!({
            "limit_id": limit.id,
            "limit_name": limit.name,
            "limit_type": limit.kind,
            "max": amount(limit, limit.max),
            "threshold": limit.threshold.map(|thousandths| f64::from(thousandths) / 1000.0),
            "limit_creation_timestamp": format::iso(time(definition.created_us)),
            "limit_update_timestamp": format::iso(time(definition.updated_us)),
            "properties": limit.properties,
            "totals": totals(limit, &self.totals),
            "scope": limit.scope,
            "window": limit.window.describe(),
            "measure": limit.measure,
            "policy": limit.policy,
        })
    }

    fn response(&self) -> Value {
        json!({ "limit": self.json(), "request_id": Uuid::now_v7().to_string(), "message": Value::Null })
    }
}

fn time(us: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(us.max(0).cast_unsigned())
}

fn dollars(value: &Value) -> Result<Money, Refusal> {
    let max = answer::dollars(value).filter(|max| *max > Money::ZERO);
    max.ok_or_else(|| {
        Refusal::bad("invalid_max_limit", "max is US dollars above 0, with at most 12 decimals")
    })
}

fn invalid(message: &str) -> Refusal {
    Refusal::bad("create_limit_validation_failed", message)
}

fn thousandths(value: &Value) -> Result<u16, Refusal> {
    let share = value.as_f64().filter(|share| (0.75..=0.99).contains(share));
    let share = share.and_then(|share| format!("{:.0}", share * 1000.0).parse().ok());
    share.ok_or_else(|| invalid("threshold is a share of max, from 0.75 to 0.99"))
}

fn properties(map: &Map<String, Value>) -> impl Iterator<Item = (Box<str>, Option<Box<str>>)> + '_ {
    map.iter().map(|(name, value)| {
        let value = match value {
            Value::Null => None,
            Value::String(text) => Some(text.as_str().into()),
            other => Some(other.to_string().into()),
        };
        (name.as_str().into(), value)
    })
}

impl Terms {
    /// A limit that says this.
    pub(crate) fn limit(&self, id: &str, name: &str) -> Result<Limit, Refusal> {
        let max = dollars(&self.max)?;
        let mut limit = match self.limit_type.as_deref() {
            None | Some("allow") => Limit::allow(id, max),
            Some("block") => Limit::block(id, max),
            Some(_) => return Err(invalid("limit_type is allow or block")),
        };
        limit.name = name.into();
        limit.threshold = self.threshold.as_ref().filter(|t| !t.is_null()).map(thousandths).transpose()?;
        limit.properties.extend(self.properties.iter().flat_map(properties));
        Ok(limit)
    }

    /// The same as an answer has it.
    pub(crate) fn json(&self) -> Value {
        let kind = self.limit_type.as_deref().unwrap_or("allow");
        let max = dollars(&self.max).ok().map(number);
        json!({ "max": max, "limit_type": kind, "threshold": self.threshold, "properties": self.properties })
    }
}

impl NewLimit {
    fn limit(&self) -> Result<Limit, Refusal> {
        if self.limit_name.trim().is_empty() {
            return Err(invalid("a limit needs its limit_name"));
        }
        let id = self.limit_id.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
        let mut limit = self.terms.limit(&id, &self.limit_name)?;
        limit.scope = self.scope.unwrap_or_default();
        limit.policy = self.policy.unwrap_or_default();
        if let Some(window) = &self.window {
            limit.window = Window::parse(window)?;
        }
        limit.check().map_err(|e| invalid(&e.to_string()))?;
        Ok(limit)
    }
}

/// Makes a limit; the same again is no error, another one of its id is.
pub(crate) async fn create(
    State(api): State<Api>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let new: NewLimit = ingest::json(&body?)?;
    let limit = new.limit()?;
    api.limits(move |limits, _| {
        let told = |limit: &Limit| (limit.max, limit.threshold, limit.kind);
        let definition = limits.change(&limit.id, |old| match old {
            Some(old) if told(&old.limit) == told(&limit) => Ok(Limit::clone(&old.limit)),
            Some(_) => {
                let message = format!("there is a limit {:?} with another max, threshold or type", limit.id);
                Err(Refusal::new(StatusCode::CONFLICT, "duplicate_limit_id", message))
            }
            None => Ok(limit.clone()),
        })?;
        Ok(Json(shown(limits, definition)?.response()))
    })
    .await
}

/// One limit.
pub(crate) async fn retrieve(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    api.look_at_limits(move |limits| Ok(Json(shown(limits, find(limits, &id)?)?.response()))).await
}

/// All limits, a page at a time, in the order of their ids.
pub(crate) async fn list(
    State(api): State<Api>,
    Query(which): Query<Named>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Refusal> {
    api.look_at_limits(move |limits| {
        let all = limits.list()?;
        let wanted = all.into_iter().filter(|definition| {
            which.limit_name.as_deref().is_none_or(|name| *definition.limit.name == *name)
        });
        let wanted = wanted.map(|definition| (definition.limit.id.to_string(), definition));
        let (part, cursor) = page.part(wanted.collect());
        let items = part.into_iter().map(|(_, definition)| Ok(shown(limits, definition)?.json()));
        let items = items.collect::<Result<Vec<_>, Refusal>>()?;
        Ok(Json(catalogue::page(items.into_iter(), cursor.as_deref())))
    })
    .await
}

async fn change(
    api: Api,
    id: String,
    mut work: impl FnMut(&mut Limit) -> Result<(), Refusal> + Send + 'static,
) -> Result<Value, Refusal> {
    let changed = api.limits(move |limits, _| {
        limits.change::<Refusal>(&id, |old| {
            let mut limit = Limit::clone(&old.ok_or_else(|| missing(&id))?.limit);
            work(&mut limit)?;
            Ok(limit)
        })
    });
    let definition = changed.await?;
    api.look_at_limits(move |limits| Ok(shown(limits, definition)?.response())).await
}

/// A maximum in the unit of a limit that there is.
fn maximum(limit: &Limit, max: &Value) -> Result<i128, Refusal> {
    if limit.max_usd().is_some() {
        return dollars(max).map(Money::pico);
    }
    let whole = max.as_u64().filter(|max| *max > 0);
    whole.map(i128::from).ok_or_else(|| Refusal::bad("invalid_max_limit", "max is a whole number above 0"))
}

/// Refuses a maximum below what the limit has come to. Where each has a counter, some may well be over a new maximum.
async fn above_spend(api: &Api, id: String, max: Value) -> Result<(), Refusal> {
    api.look_at_limits(move |limits| {
        let limit = find(limits, &id)?.limit;
        let standing = limits.standing(&id, &Subject::default())?.unwrap_or_default();
        if matches!(limit.scope, Scope::Attached | Scope::Everyone) && maximum(&limit, &max)? < standing.settled {
            let message = format!(
                "the limit has come to {} already; reset it first, or lower it all the same with `payi limits set`",
                limit.show(standing.settled)
            );
            return Err(Refusal::bad("invalid_max_limit_update", message));
        }
        Ok(())
    })
    .await
}

/// Another name, another maximum.
pub(crate) async fn update(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let changes: Changes = ingest::json(&body?)?;
    let max = changes.max.filter(|max| !max.is_null());
    if let Some(max) = max.clone() {
        above_spend(&api, id.clone(), max).await?;
    }
    let done = change(api, id, move |limit| {
        if let Some(name) = &changes.limit_name {
            limit.name = name.as_str().into();
        }
        if let Some(max) = &max {
            limit.max = maximum(limit, max)?;
        }
        Ok(())
    });
    Ok(Json(done.await?))
}

/// Lays properties over those of the limit; a null takes one away.
pub(crate) async fn set_properties(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let new: NewProperties = ingest::json(&body?)?;
    let done = change(api, id, move |limit| {
        for (name, value) in properties(&new.properties) {
            match value {
                Some(_) => drop(limit.properties.insert(name, value)),
                None => drop(limit.properties.remove(&name)),
            }
        }
        Ok(())
    });
    // Pay-i answers with a list.
    Ok(Json(json!([done.await?])))
}

/// Starts a limit anew; what it had come to is told.
pub(crate) async fn reset(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(Since { reset_date }): Query<Since>,
) -> Result<Json<Value>, Refusal> {
    let from = reset_date.and_then(|at| SystemTime::try_from(at).ok());
    if from.is_some_and(|from| from > SystemTime::now()) {
        return Err(Refusal::bad(
            "request_processing_error",
            "resetDate has not come yet; leave it out to reset now",
        ));
    }
    api.limits(move |limits, _| {
        let history = limits.reset(&id, from)?.ok_or_else(|| missing(&id))?;
        let limit = &history.limit;
        Ok(Json(json!({
            "limit_history": {
                "limit_id": limit.id,
                "limit_name": limit.name,
                "limit_type": limit.kind,
                "max": amount(limit, limit.max),
                "limit_tags": [],
                "limit_reset_timestamp": format::iso(time(history.reset_us)),
                "totals": totals(limit, &history.totals()),
            },
            "request_id": Uuid::now_v7().to_string(),
            "message": Value::Null,
        })))
    })
    .await
}

/// Removes a limit.
pub(crate) async fn remove(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    api.limits(move |limits, _| {
        if !limits.delete(&id)? {
            return Err(missing(&id));
        }
        Ok(Json(json!({ "request_id": Uuid::now_v7().to_string(), "message": Value::Null })))
    })
    .await
}

/// The states of an event's limits, as `xproxy_result` has them.
pub(crate) fn states(of: &[(Arc<str>, LimitState)]) -> Value {
    let states: HashMap<&str, Value> =
        of.iter().map(|(id, state)| (&**id, json!({ "state": state.name() }))).collect();
    json!(states)
}
