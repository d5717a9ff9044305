//! Measures of a use case's success: their definitions, and the score of each instance.

use std::{ops::Range, time::SystemTime};

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
};
use payi_core::ledger::Ledger;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::server::{
    api::{
        Api,
        catalogue::{Kind, Page, SEPARATOR, is_name, key},
        error::{Path, Query, Refusal},
        ingest,
        use_cases::{self, answered},
    },
    format,
};

pub(crate) const DEFINITIONS: Kind = Kind("kpi");
pub(crate) const SCORES: Kind = Kind("score");

const TYPES: [&str; 6] = ["boolean", "number", "percentage", "likert5", "likert7", "likert10"];

fn unknown() -> Refusal {
    Refusal::missing("kpi_not_found", "the use case has no KPI of this name")
}

#[derive(Debug, Deserialize)]
struct New {
    name: Option<String>,
    description: Option<String>,
    kpi_type: Option<String>,
    goal: Option<f64>,
}

async fn of_use_case(api: &Api, name: &str) -> Result<(), Refusal> {
    use_cases::DEFINITIONS.find(api, &[name]).await?.map(drop).ok_or_else(use_cases::unknown)
}

/// Defines a KPI of a use case.
pub(crate) async fn create(
    State(api): State<Api>,
    Path(case): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let new: New = ingest::json(&body?)?;
    of_use_case(&api, &case).await?;
    let missing = |what: &str| Refusal::bad("required_field_missing", format!("a KPI needs its {what}"));
    let name = new.name.filter(|name| is_name(name)).ok_or_else(|| missing("name"))?;
    let kind = new.kpi_type.filter(|kind| TYPES.contains(&kind.as_str()));
    let kind = kind.ok_or_else(|| missing(&format!("kpi_type, one of {}", TYPES.join(", "))))?;
    let now = format::iso(SystemTime::now());
    let item = json!({
        "name": name, "description": new.description.ok_or_else(|| missing("description"))?, "kpi_type": kind,
        "goal": new.goal.ok_or_else(|| missing("goal"))?, "created_timestamp": now, "updated_timestamp": now,
    });
    let names = [case.as_str(), name.as_str()];
    let made = DEFINITIONS.change(&api, &names, |old| match old {
        None => Ok(item),
        Some(_) => Err(Refusal::bad("kpi_already_exists", "the use case has a KPI of this name already")),
    });
    made.await.map(answered)
}

/// The KPIs of a use case, by their names.
pub(crate) async fn list(
    State(api): State<Api>,
    Path(case): Path<String>,
    Query(at): Query<Page>,
) -> Result<Json<Value>, Refusal> {
    of_use_case(&api, &case).await?;
    DEFINITIONS.page(&api, &[&case], (&at, at.kpi_name.as_deref()), |item| answered(item).0).await.map(Json)
}

pub(crate) async fn retrieve(
    State(api): State<Api>,
    Path((case, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    DEFINITIONS.find(&api, &[&case, &name]).await?.map(answered).ok_or_else(unknown)
}

/// Another description or goal; name and type stay.
pub(crate) async fn update(
    State(api): State<Api>,
    Path((case, name)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let new: New = ingest::json(&body?)?;
    let names = [case.as_str(), name.as_str()];
    let changed = DEFINITIONS.change(&api, &names, move |old| {
        let mut item = old.ok_or_else(unknown)?;
        if let Some(text) = new.description {
            item["description"] = json!(text);
        }
        if let Some(goal) = new.goal {
            item["goal"] = json!(goal);
        }
        item["updated_timestamp"] = json!(format::iso(SystemTime::now()));
        Ok(item)
    });
    changed.await.map(answered)
}

pub(crate) async fn delete(
    State(api): State<Api>,
    Path((case, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let gone = DEFINITIONS.find(&api, &[&case, &name]).await?.ok_or_else(unknown)?;
    DEFINITIONS.remove(&api, key(&[&case, &name])).await?;
    Ok(answered(gone))
}

/// The scores that an instance has been given.
pub(crate) async fn scores(
    State(api): State<Api>,
    Path((case, id)): Path<(String, String)>,
    Query(at): Query<Page>,
) -> Result<Json<Value>, Refusal> {
    SCORES.page(&api, &[&case, &id], (&at, at.kpi_name.as_deref()), |item| item).await.map(Json)
}

/// How many of the newest scores are known one by one.
const NEWEST: usize = 10;

/// The KPIs of a use case, with what the scores that were given in a range come to.
#[derive(Debug, Default)]
pub(crate) struct Scores {
    /// By their names.
    pub(crate) kpis: Vec<Kpi>,
    /// The newest scores, the last one first.
    pub(crate) newest: Vec<Score>,
    /// How many instances were scored.
    pub(crate) instances: u64,
}

#[derive(Debug)]
pub(crate) struct Kpi {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) kind: String,
    pub(crate) goal: f64,
    /// How many scores there are, their sum, and the least and the most of them.
    pub(crate) scored: u32,
    pub(crate) sum: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// What an instance came to, and when that was said.
#[derive(Debug)]
pub(crate) struct Score {
    /// Which of the KPIs it is one of.
    pub(crate) kpi: usize,
    pub(crate) instance: String,
    pub(crate) value: f64,
    pub(crate) at: SystemTime,
}

/// A score as it is kept.
#[derive(Deserialize)]
struct Kept {
    kpi_name: String,
    score: f64,
    update_timestamp: jiff::Timestamp,
}

/// The KPIs of a use case. Its scores are read one by one: of all there ever were, none is kept but the newest.
pub(crate) fn of(ledger: &Ledger, case: &str, range: &Range<SystemTime>) -> payi_core::Result<Scores> {
    let text = |item: &Value, field: &str| item[field].as_str().unwrap_or_default().to_owned();
    let kpi = |(_, item): &(String, Value)| Kpi {
        name: text(item, "name"),
        description: text(item, "description"),
        kind: text(item, "kpi_type"),
        goal: item["goal"].as_f64().unwrap_or_default(),
        scored: 0,
        sum: 0.0,
        least: f64::INFINITY,
        most: f64::NEG_INFINITY,
    };
    let kpis = DEFINITIONS.below(ledger, &[case])?.iter().map(kpi).collect();
    let mut scores = Scores { kpis, ..Scores::default() };
    if scores.kpis.is_empty() {
        return Ok(scores);
    }
    let mut last = String::new();
    SCORES.each(ledger, &[case], |key, body| {
        let (Some(instance), Ok(kept)) = (key.split(SEPARATOR).nth(1), serde_json::from_str::<Kept>(body))
        else {
            return;
        };
        // Those of one instance come one after the other.
        if scores.add(instance, &kept, range) && last != instance {
            instance.clone_into(&mut last);
            scores.instances += 1;
        }
    })?;
    Ok(scores)
}

impl Scores {
    /// Whether the score is one of a KPI that there is, and was given in the range.
    fn add(&mut self, instance: &str, kept: &Kept, range: &Range<SystemTime>) -> bool {
        let Ok(at) = SystemTime::try_from(kept.update_timestamp) else { return false };
        let found = self.kpis.iter_mut().enumerate().find(|(_, kpi)| kpi.name == kept.kpi_name);
        let Some((index, kpi)) = found.filter(|_| range.contains(&at)) else { return false };
        kpi.scored = kpi.scored.saturating_add(1);
        kpi.sum += kept.score;
        (kpi.least, kpi.most) = (kpi.least.min(kept.score), kpi.most.max(kept.score));
        let place = self.newest.partition_point(|newer| newer.at >= at);
        if place < NEWEST {
            let score = Score { kpi: index, instance: instance.to_owned(), value: kept.score, at };
            self.newest.insert(place, score);
            self.newest.truncate(NEWEST);
        }
        true
    }
}

#[derive(Debug, Deserialize)]
struct Scored {
    score: Value,
}

/// Gives an instance a score in place of the one it had; `null` takes it away.
pub(crate) async fn score(
    State(api): State<Api>,
    Path((case, id, name)): Path<(String, String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Refusal> {
    let Scored { score } = ingest::json(&body?)?;
    let kpi = DEFINITIONS.find(&api, &[&case, &name]).await?.ok_or_else(unknown)?;
    if !is_name(&id) {
        return Err(Refusal::bad("request_processing_error", "an instance's id is plain text"));
    }
    let kind = kpi["kpi_type"].clone();
    let Some(score) = valued(&score, kind.as_str().unwrap_or("number"))? else {
        SCORES.remove(&api, key(&[&case, &id, &name])).await?;
        return Ok(StatusCode::NO_CONTENT);
    };
    let now = format::iso(SystemTime::now());
    let given = name.clone();
    let names = [case.as_str(), id.as_str(), name.as_str()];
    let put = SCORES.change(&api, &names, move |old| {
        let made = old.map_or(json!(now), |old| old["create_timestamp"].clone());
        Ok(json!({
            "kpi_name": given, "kpi_type": kind, "score": score, "create_timestamp": made, "update_timestamp": now,
        }))
    });
    put.await.map(|_| StatusCode::NO_CONTENT)
}

/// The score as a number, if it is one that a KPI of this kind can have.
fn valued(score: &Value, kind: &str) -> Result<Option<f64>, Refusal> {
    let (least, most) = match kind {
        "boolean" => (0.0, 1.0),
        "percentage" => (0.0, 100.0),
        "likert5" => (1.0, 5.0),
        "likert7" => (1.0, 7.0),
        "likert10" => (1.0, 10.0),
        _ => (f64::MIN, f64::MAX),
    };
    let number = match score {
        Value::Null => return Ok(None),
        Value::Bool(yes) => Some(f64::from(u8::from(*yes))),
        other => other.as_f64(),
    };
    let whole = kind == "boolean" || kind.starts_with("likert");
    let fits = |n: &f64| (least..=most).contains(n) && (!whole || n.fract() == 0.0);
    number.filter(fits).map(Some).ok_or_else(|| {
        Refusal::bad(
            "request_processing_error",
            format!("a score of a {kind} KPI is a number it can have, or null"),
        )
    })
}
