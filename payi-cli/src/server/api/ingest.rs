//! `POST /api/v1/ingest` and `/ingest/bulk`: events in, costs out.

use std::time::SystemTime;

use axum::{
    Json,
    body::Bytes,
    extract::{Request, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use payi_core::context::Text;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{
    api::{
        Api, answer,
        error::{Query, Refusal},
        prices::Prices,
        use_cases::Definitions,
        wire::Body,
    },
    format,
};

/// Events that one bulk request may carry.
const ITEMS: usize = 10_000;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Id {
    id: Option<String>,
}

/// Refuses what cannot be a request of this API: without a key, or packed.
pub(crate) async fn admit(request: Request, next: Next) -> Response {
    match refusal(request.headers()) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    }
}

fn refusal(headers: &HeaderMap) -> Option<Refusal> {
    if !headers.contains_key("xProxy-api-key") {
        let message = "send the header xProxy-api-key; on this machine any key is taken";
        return Some(Refusal::new(StatusCode::UNAUTHORIZED, "header_is_missing", message));
    }
    let packed = headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
    packed.then(|| {
        let message = "bodies are taken unpacked; leave out Content-Encoding";
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "request_processing_error", message)
    })
}

pub(crate) fn invalid(e: &serde_json::Error) -> Refusal {
    Refusal::bad("invalid_json", format!("the body is not what this address takes: {e}"))
}

/// The body as what an address takes.
pub(crate) fn json<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|e| invalid(&e))
}

/// One event; its attribution is in headers.
pub(crate) async fn one(
    State(api): State<Api>,
    Query(Id { id }): Query<Id>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let body: Body = json(&body?)?;
    let mut understood = body.attributed(&headers)?.understand(id, &api.prices, &api.definitions)?;
    api.limit_instances(vec![&mut understood.who]).await?;
    let named = api.named_limits(&understood.who.limit_ids).await?;
    named.admit(&understood.who.limit_ids)?;
    let placed = api.writer.place(vec![(understood.event.clone(), understood.who.clone())]).await?;
    let Some(placed) = placed.into_iter().next() else { return Err(Refusal::unavailable()) };
    if placed.seq.is_none() {
        return Err(too_late());
    }
    let limited =
        answer::Limited { unknown: named.unknown, duplicate: placed.duplicate, states: placed.limits };
    Ok(Json(json!({
        "event_timestamp": format::iso(understood.event.started_at),
        "ingest_timestamp": format::iso(SystemTime::now()),
        "request_id": understood.event.id.to_string(),
        "xproxy_result": answer::result(&understood, &limited),
    })))
}

/// Many events, each with its attribution in it. Those that make no sense are named; the others are kept.
pub(crate) async fn bulk(
    State(api): State<Api>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    let body = body?;
    let (prices, definitions) = (api.prices.clone(), api.definitions.clone());
    let read = tokio::task::spawn_blocking(move || read(&body, &prices, &definitions));
    let (total, mut events, errors) = read.await.map_err(|_| Refusal::unavailable())??;
    api.limit_instances(events.iter_mut().map(|(_, (_, who))| who).collect()).await?;
    let (events, mut errors) = api.without_blocked(events, errors).await?;
    let (indices, events): (Vec<_>, Vec<_>) = events.into_iter().unzip();
    let placed = if events.is_empty() { Vec::new() } else { api.writer.place(events).await? };
    let late = indices.iter().zip(&placed).filter(|(_, placed)| placed.seq.is_none());
    errors.extend(late.map(|(&index, _)| item_error(index, &too_late())));
    let count = placed.iter().filter(|placed| placed.seq.is_some()).count();
    Ok(Json(json!({
        "ingest_count": count,
        "total_count": total,
        "error_count": errors.len(),
        "item_error_count": errors.len(),
        "errors": errors,
        "ingest_timestamp": format::iso(SystemTime::now()),
        "request_id": Uuid::now_v7().to_string(),
    })))
}

/// It can no longer be told from one that was counted before it was pruned.
fn too_late() -> Refusal {
    let message = "the event is older than what has been pruned from this ledger; it is counted as lost";
    Refusal::bad("invalid_ingest_event_timestamp", message)
}

fn item_error(index: usize, refusal: &Refusal) -> Value {
    json!({ "item_index": index, "xproxy_result": refusal.json() })
}

type Item = (payi_core::events::Event, payi_core::context::Resolved);
type Read = (usize, Vec<(usize, Item)>, Vec<Value>);

impl Api {
    /// Events that name a block limit are errors, each for itself.
    async fn without_blocked(
        &self,
        events: Vec<(usize, Item)>,
        mut errors: Vec<Value>,
    ) -> Result<(Vec<(usize, Item)>, Vec<Value>), Refusal> {
        let mut ids: Vec<Text> =
            events.iter().flat_map(|(_, (_, who))| who.limit_ids.iter().cloned()).collect();
        ids.sort();
        ids.dedup();
        let named = self.named_limits(&ids).await?;
        let mut kept = Vec::with_capacity(events.len());
        for (index, item) in events {
            match named.admit(&item.1.limit_ids) {
                Ok(()) => kept.push((index, item)),
                Err(refusal) => errors.push(item_error(index, &refusal)),
            }
        }
        Ok((kept, errors))
    }
}

fn read(body: &[u8], prices: &Prices, definitions: &Definitions) -> Result<Read, Refusal> {
    // Also as `{"events": […]}`, which older clients send. Items are read one by one: one bad item is one error.
    let list: Result<Vec<&serde_json::value::RawValue>, _> = serde_json::from_slice(body);
    let items = match list {
        Ok(items) => items,
        Err(e) => {
            #[derive(Deserialize)]
            struct Wrapped<'a> {
                #[serde(borrow)]
                events: Vec<&'a serde_json::value::RawValue>,
            }
            serde_json::from_slice::<Wrapped<'_>>(body).map_err(|_| invalid(&e))?.events
        }
    };
    if items.len() > ITEMS {
        let message = format!("a bulk request takes at most {ITEMS} events; send fewer at once");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request_processing_error", message));
    }
    let (mut events, mut errors) = (Vec::with_capacity(items.len()), Vec::new());
    for (index, item) in items.iter().enumerate() {
        let body = serde_json::from_str::<Body>(item.get()).map_err(|e| invalid(&e));
        match body.and_then(|body| body.understand(None, prices, definitions)) {
            Ok(understood) => events.push((index, (understood.event, understood.who))),
            Err(refusal) => errors.push(item_error(index, &refusal)),
        }
    }
    Ok((items.len(), events, errors))
}
