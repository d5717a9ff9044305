//! Refusals in the form of Pay-i's API: a status, a message, and a code that does not change.

use axum::{
    Json,
    extract::rejection::BytesRejection,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
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
        json!({
            "statusCode": self.status.as_u16(),
            "message": self.message,
            "xproxy_error": { "code": self.code, "message": self.message },
        })
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
