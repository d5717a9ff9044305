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
    let understood = body.attributed(&headers)?.understand(id, &api.prices, &api.definitions)?;
    let ids = &understood.who.limit_ids;
    api.without_block_limits(ids).await?;
    let placed = api.writer.place(vec![(understood.event.clone(), understood.who.clone())]).await?;
    let placed = placed.into_iter().next();
    let limited = answer::Limited {
        unknown: api.unknown_limits(ids).await?,
        duplicate: placed.as_ref().is_some_and(|placed| placed.duplicate),
        states: placed.map(|placed| placed.limits).unwrap_or_default(),
    };
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
    let (total, events, errors) = read.await.map_err(|_| Refusal::unavailable())??;
    let (events, errors) = api.without_blocked(events, errors).await?;
    let count = events.len();
    if count > 0 {
        api.writer.place(events).await?;
    }
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

type Item = (payi_core::events::Event, payi_core::context::Resolved);
type Read = (usize, Vec<(usize, Item)>, Vec<Value>);

impl Api {
    /// Events that name a block limit are errors, each for itself.
    async fn without_blocked(
        &self,
        events: Vec<(usize, Item)>,
        mut errors: Vec<Value>,
    ) -> Result<(Vec<Item>, Vec<Value>), Refusal> {
        let mut ids: Vec<Text> =
            events.iter().flat_map(|(_, (_, who))| who.limit_ids.iter().cloned()).collect();
        ids.sort();
        ids.dedup();
        let blocking = self.blocking(&ids).await?;
        let mut kept = Vec::with_capacity(events.len());
        for (index, (event, who)) in events {
            let named = who.limit_ids.iter().any(|id| blocking.iter().any(|known| **known == **id));
            if named && let Err(refusal) = self.without_block_limits(&who.limit_ids).await {
                errors.push(json!({ "item_index": index, "xproxy_result": refusal.json() }));
            } else {
                kept.push((event, who));
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
            Err(refusal) => errors.push(json!({ "item_index": index, "xproxy_result": refusal.json() })),
        }
    }
    Ok((items.len(), events, errors))
}
