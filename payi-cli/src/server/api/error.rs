//! Refusals in the form of Pay-i's API: a status, a message, and a code that does not change.

use axum::{
    Json,
    extract::{self, FromRequestParts, rejection::BytesRejection},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// The limits that are the reason.
    pub(crate) limit_ids: Vec<String>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), limit_ids: Vec::new() }
    }

    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn missing(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// The ledger could not be written or read: the client may come back.
    pub(crate) fn unavailable() -> Self {
        let message = "the ledger cannot take this now; send it again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unexpected_error", message)
    }

    pub(crate) fn json(&self) -> Value {
        let mut answer = json!({
            "statusCode": self.status.as_u16(),
            "message": self.message,
            "xproxy_error": { "code": self.code, "message": self.message },
        });
        if !self.limit_ids.is_empty() {
            answer["xproxy_result"] = json!({ "blocked_limit_ids": self.limit_ids });
        }
        answer
    }
}

/// What an address says after its `?`.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let asked = extract::Query::<T>::try_from_uri(&parts.uri);
        asked.map(|asked| Self(asked.0)).map_err(|e| Refusal::bad("request_processing_error", e.body_text()))
    }
}

/// The names in an address, percent-decoded.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let named = extract::Path::<T>::from_request_parts(parts, state).await;
        named.map(|named| Self(named.0)).map_err(|e| Refusal::bad("request_processing_error", e.body_text()))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.json())).into_response()
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        let message = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "the body is larger than this address takes; send less at once",
            _ => "the body could not be read",
        };
        Self::new(rejection.status(), "request_processing_error", message)
    }
}

impl From<crate::server::app::Failed> for Refusal {
    fn from(failed: crate::server::app::Failed) -> Self {
        if let crate::server::app::Failed::Ledger(e) = failed {
            tracing::error!(error = %e, "payi serve: the ledger could not be read");
        }
        Self::unavailable()
    }
}
