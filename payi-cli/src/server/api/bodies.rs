//! A bound on what all bodies hold together, from their first byte until they are answered. Each alone is bounded by
//! its address; hundreds of clients at once are not.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::server::api::error::Refusal;

/// Bytes of all bodies together: four of the largest.
const ALL: usize = 4 * super::BULK;
/// Bytes per permit: a semaphore counts to less than a machine's memory may.
const UNIT: usize = 1024;

/// The room for bodies. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self::of(ALL)
    }
}

impl Bodies {
    fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT)))
    }
}

/// What one body takes up; it is given back when this is dropped.
#[derive(Debug, Default)]
struct Held {
    room: Mutex<(usize, Option<OwnedSemaphorePermit>)>,
    refused: AtomicBool,
}

impl Held {
    /// Makes room for so many bytes more; false if there is none.
    fn grow(&self, bodies: &Bodies, bytes: usize) -> bool {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let (held, permit) = &mut *room;
        *held += bytes;
        let more = held.div_ceil(UNIT) - permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Ok(more) = u32::try_from(more) else { return false };
        let Ok(more) = bodies.0.clone().try_acquire_many_owned(more) else { return false };
        match permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        true
    }
}

/// Takes a request if there is room for its body as it comes in; tells the client to come back if there is none.
pub(crate) async fn bound(State(bodies): State<Bodies>, request: Request, next: Next) -> Response {
    let held = Arc::new(Held::default());
    let growing = held.clone();
    let (parts, body) = request.into_parts();
    let body = body.into_data_stream().map(move |piece| {
        let piece = piece?;
        if growing.grow(&bodies, piece.len()) {
            return Ok(piece);
        }
        growing.refused.store(true, Relaxed);
        Err(axum::Error::new(io::Error::other("no room for the body")))
    });
    let response = next.run(Request::from_parts(parts, Body::from_stream(body))).await;
    if !held.refused.load(Relaxed) {
        return response;
    }
    let message = "too much is being sent at this moment; send it again in a second";
    let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unexpected_error", message);
    ([(header::RETRY_AFTER, HeaderValue::from_static("1"))], refusal).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use axum::{Router, body::Bytes, middleware, routing::post};
    use tokio::sync::Notify;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn bodies_together_have_a_bound_and_their_room_comes_back() {
        let (began, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let told = (began.clone(), end.clone());
        let held = async move |body: Bytes| {
            told.0.notify_one();
            told.1.notified().await;
            body.len().to_string()
        };
        let free = async |body: Bytes| body.len().to_string();
        let bodies = Bodies::of(8 * UNIT);
        let router = Router::new()
            .route("/held", post(held))
            .route("/", post(free))
            .layer(middleware::from_fn_with_state(bodies.clone(), bound));
        let send = |path: &str, bytes: usize| {
            let request = Request::post(path).body(Body::from(vec![b'x'; bytes])).unwrap();
            router.clone().oneshot(request)
        };
        let first = tokio::spawn(send("/held", 6 * UNIT));
        began.notified().await;
        // As small as it may be, it has its place.
        assert_eq!(send("/", 2 * UNIT).await.unwrap().status(), StatusCode::OK);
        let refused = send("/", 2 * UNIT + 1).await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
        end.notify_one();
        assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
        assert_eq!(send("/", 8 * UNIT).await.unwrap().status(), StatusCode::OK);
        // Whoever leaves half way holds nothing.
        let left = tokio::spawn(send("/held", 8 * UNIT));
        began.notified().await;
        left.abort();
        left.await.unwrap_err();
        assert_eq!(bodies.0.available_permits(), 8);
    }
}
