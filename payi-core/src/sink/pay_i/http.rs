//! One POST, and what its answer means.

use std::time::Duration;

use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::{
    Error, Result,
    error::Kind,
    sink::pay_i::{
        Told,
        answer::{self, Refusal},
    },
};

const CONNECT: Duration = Duration::from_secs(5);
/// How long one request may take in all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An answer longer than this is not read to its end.
const LONGEST_ANSWER: usize = 4 << 20;

/// What came back.
#[derive(Debug)]
pub(crate) enum Reply {
    /// 2xx, with an answer of Pay-i's.
    Taken(Vec<u8>),
    /// 4xx: sending the same again is of no use.
    Refused(Refusal),
    /// 500 and the like: the server stumbled, perhaps over what it was sent.
    Failed,
    /// Nobody there, no answer in time, too busy, or an answer that broke off.
    Unavailable(Told),
    /// A redirect, or an answer that is not Pay-i's.
    Elsewhere,
}

/// A client for one host.
pub(crate) struct Http {
    client: Client,
    runtime: Runtime,
    base_url: String,
}

impl Http {
    /// `key` is sent in the header `key_header`, and marked as not to be printed. A request may take
    /// as long as `patience`.
    pub(crate) fn new(base_url: &str, key_header: &str, key: &str, patience: Duration) -> Result<Self> {
        #[cfg(feature = "rustls")]
        crate::sink::tls::ensure_provider();
        let unusable = |e: Box<dyn std::error::Error + Send + Sync>| {
            Error::with_source(Kind::Config, "no HTTP client could be made for delivery to Pay-i", e)
        };
        let name = HeaderName::from_bytes(key_header.as_bytes()).map_err(|e| unusable(e.into()))?;
        let mut secret = HeaderValue::from_str(key).map_err(|e| unusable(e.into()))?;
        secret.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(name, secret);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let client = Client::builder()
            .user_agent(concat!("payi-rust/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            // Whatever features of reqwest others in the tree turn on: a small answer is to stay small.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .connect_timeout(CONNECT)
            .timeout(patience)
            .build()
            .map_err(|e| unusable(e.into()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| unusable(e.into()))?;
        Ok(Self { client, runtime, base_url: base_url.into() })
    }

    /// Posts `body` as JSON.
    pub(crate) fn post(
        &self,
        path: &str,
        headers: &[(&'static str, String)],
        body: &impl Serialize,
    ) -> Reply {
        match serde_json::to_vec(body) {
            Ok(body) => self.post_bytes(path, headers, body),
            Err(_) => Reply::Refused(Refusal::new(400, b"")),
        }
    }

    /// Posts JSON.
    pub(crate) fn post_bytes(&self, path: &str, headers: &[(&'static str, String)], body: Vec<u8>) -> Reply {
        let mut request = self.client.post(format!("{}{path}", self.base_url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.runtime.block_on(async {
            match request.send().await {
                Ok(response) => read(response).await,
                Err(error) => {
                    crate::error::say!(debug, target: "payi", error = %error.without_url(), "Pay-i was not reached");
                    Reply::Unavailable(None)
                }
            }
        })
    }
}

async fn read(mut response: Response) -> Reply {
    let status = response.status();
    let told = retry_after(response.headers());
    let mut body = Vec::new();
    let whole = loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= LONGEST_ANSWER => body.extend_from_slice(&chunk),
            Ok(Some(_)) | Err(_) => break false,
            Ok(None) => break true,
        }
    };
    crate::error::say!(debug, target: "payi", status = status.as_u16(), "Pay-i answered");
    match status {
        _ if status.is_success() && !whole => Reply::Unavailable(told),
        _ if status.is_success() && answer::is_an_answer(&body) => Reply::Taken(body),
        _ if status.is_success() || status.is_redirection() => Reply::Elsewhere,
        StatusCode::INTERNAL_SERVER_ERROR
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::CONFLICT
        | StatusCode::TOO_EARLY => Reply::Failed,
        StatusCode::NOT_IMPLEMENTED => Reply::Refused(Refusal::new(501, &body)),
        StatusCode::TOO_MANY_REQUESTS => Reply::Unavailable(told),
        _ if status.is_client_error() => Reply::Refused(Refusal::new(status.as_u16(), &body)),
        _ => Reply::Unavailable(told),
    }
}

/// `retry-after-ms`, or `Retry-After` in seconds or as a date; nonsense counts as absent.
fn retry_after(headers: &HeaderMap) -> Told {
    let text = |value: Option<&HeaderValue>| value?.to_str().ok().map(str::trim).map(str::to_owned);
    if let Some(ms) = text(headers.get("retry-after-ms")).and_then(|ms| ms.parse().ok()) {
        return Some(Duration::from_millis(ms));
    }
    let value = text(headers.get(RETRY_AFTER))?;
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(&value).ok()?.timestamp();
    Duration::try_from(date.duration_since(jiff::Timestamp::now())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &'static str, value: &str) -> Told {
        let mut headers = HeaderMap::new();
        headers.extend(HeaderValue::from_str(value).map(|value| (HeaderName::from_static(name), value)));
        retry_after(&headers)
    }

    #[test]
    fn what_the_server_asks_for_is_read() {
        assert_eq!(told("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(told("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(told("retry-after", "1000000000"), Some(Duration::from_secs(1_000_000_000)));
        let in_a_minute = jiff::Timestamp::now() + Duration::from_secs(60);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&in_a_minute)
            .unwrap_or_default();
        assert!(
            told("retry-after", &date)
                .is_some_and(|t| t > Duration::from_secs(50) && t <= Duration::from_secs(60))
        );
    }

    #[test]
    fn nonsense_counts_as_absent() {
        for nonsense in ["-5", "soon", "", "1e9", "Thu, 01 Jan 1970 00:00:00 GMT"] {
            assert_eq!(told("retry-after", nonsense), None, "{nonsense}");
        }
    }
}
