//! A recorded exchange with a provider, as one JSON object: what `payi inspect` reads and the test provider plays.
//!
//! `request` has `method`, `url`, `headers` and `body`; `response` has `status`, `headers`, and `body` (JSON),
//! `body_text` (as it was sent) or `body_base64` (likewise). A realtime session has `frames` instead, each with
//! its `direction` and its `event`.

use bytes::Bytes;
use serde_json::Value;

use crate::{
    error::{Error, Kind},
    usage::base64,
};

/// Bedrock's streams.
const AWS: &str = "application/vnd.amazon.eventstream";

/// That this is no recording, and why.
pub(crate) fn refused(why: &str) -> Error {
    Error::new(Kind::Config, format!("this is no recorded exchange: {why}"))
}

/// Reads the JSON object.
pub(crate) fn parse(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|_| refused("it cannot be read as JSON"))
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// Without those that only say how the body was sent.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Recorded {
    /// Reads the `response` of an exchange.
    pub(crate) fn read(response: &Value) -> Result<Self, Error> {
        let said = response["headers"]["content-type"].as_str();
        let text = response["body_text"].as_str();
        let packed = response["body_base64"].as_str().or_else(|| text.filter(|_| said == Some(AWS)));
        let (body, default) = if let Some(packed) = packed {
            let bytes = base64(packed.trim().as_bytes()).ok_or_else(|| refused("its base64 is none"))?;
            (Bytes::from(bytes), AWS)
        } else if let Some(text) = text {
            let lines = text.starts_with('{');
            let default = if lines { "application/x-ndjson" } else { "text/event-stream" };
            (Bytes::from(text.to_owned()), default)
        } else if response["body"].is_null() {
            return Err(refused("its `response` has no `body`, `body_text` or `body_base64`"));
        } else {
            (Bytes::from(response["body"].to_string()), "application/json")
        };
        Ok(Self {
            status: response["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200),
            content_type: said.unwrap_or(default).to_owned(),
            headers: headers(&response["headers"]),
            body,
        })
    }
}

/// Headers, without those that only say how a body was sent.
pub(crate) fn headers(object: &Value) -> Vec<(String, String)> {
    let framing =
        |name: &str| name.starts_with("content-") || matches!(name, "transfer-encoding" | "connection");
    let all = object.as_object().into_iter().flatten().filter(|(name, _)| !framing(name));
    all.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}
