//! One attempt: before it is sent, and around what comes back.

use std::{any::Any, sync::Arc};

use super::{
    Error,
    backend::{self, Client, Request, Response, ResponseBuilderExt, header},
};
use crate::{
    clients::{
        body::{Head, Tee, Watch},
        call::{self, Attempt, Repeat},
        capture::KEPT_MAX,
        detect::detect,
        headers::{self, Effective},
        request::Body,
    },
    context::Context,
    error::Kind,
    events::{Exchange, Pipeline, Settings, StreamUsage},
    usage::{Api, Bucket, Usage},
};

/// Sends `request` for `context`.
pub(crate) async fn send(context: Context, client: Client, mut request: Request) -> Result<Response, Error> {
    let Some(attempt) = attempt(context, &mut request, Repeat::NONE, MODULE)? else {
        return Ok(client.execute(request).await?);
    };
    Ok(attempt.result(client.execute(request).await)?)
}

/// How Pay-i knows the client.
const MODULE: &str = "reqwest";

/// An attempt that has begun.
#[derive(Debug)]
pub(crate) struct Attempted {
    attempt: Attempt,
    api: Api,
    keep: bool,
    hide: bool,
}

/// Begins an attempt; `None` if nobody is listening, and the request is not touched then.
///
/// # Errors
///
/// [`Kind::Unattributed`], where a test demands that calls are for somebody.
pub(crate) fn attempt(
    context: Context,
    request: &mut Request,
    repeat: Repeat,
    module: &'static str,
) -> crate::Result<Option<Attempted>> {
    let Some(pipeline) = context.root::<Pipeline>() else { return Ok(None) };
    let context = context.for_call();
    let call_site = context.call_site();
    let mut sent = std::mem::take(request.headers_mut());
    let Effective { context, keep, price_as } =
        headers::apply(&pipeline, context, |pay_i| pay_i.is_at(request.url()), &mut sent);
    *request.headers_mut() = sent;
    let host = request.url().host_str().unwrap_or_default();
    let get = request.method() == backend::Method::GET;
    let context = call_site.map_or(context.clone(), |site| context.called_at(site));
    let context = attributed(&pipeline.settings, context)?;
    let endpoint = detect(get, host, request.url().path());
    let bytes = request.body().and_then(backend::Body::as_bytes);
    let body = bytes.filter(|_| !get).map(Body::read).unwrap_or_default();
    let asked = asks_for_usage(&pipeline.settings, host, endpoint.accepts_stream_usage, endpoint.api)
        .then(|| bytes.filter(|_| may_be_changed(request)).and_then(|bytes| body.with_stream_usage(bytes)))
        .flatten();
    let exchange = (keep || pipeline.settings.exchange).then(|| {
        Box::new(Exchange {
            provider_uri: Some(base(request, endpoint.base)),
            instrumented_module: Some(module.into()),
            request_json: bytes
                .filter(|bytes| keep && bytes.len() <= KEPT_MAX)
                .map(|bytes| String::from_utf8_lossy(asked.as_deref().unwrap_or(bytes)).into()),
            ..Exchange::default()
        })
    });
    let api = endpoint.api;
    let model = body.model.or_else(|| endpoint.model.clone());
    let described = call::Request { endpoint, model, price_as, exchange };
    let hide = asked.is_some();
    if let Some(asked) = asked {
        *request.body_mut() = Some(asked.into());
    }
    let attempt = Attempt::begin(Arc::clone(&pipeline), context, described, repeat);
    Ok(Some(Attempted { attempt, api, keep, hide }))
}

/// The context with a note of which required keys it lacks.
fn attributed(settings: &Settings, context: Context) -> crate::Result<Context> {
    let missing = context.missing(settings.require);
    if missing.is_empty() {
        return Ok(context);
    }
    if settings.refuse_unattributed {
        let site = context.call_site().map(|site| format!(" made at {site}")).unwrap_or_default();
        let message = format!(
            "the call{site} has no {missing}, which this test requires; open a scope around it, with \
             `track_context!` or `#[track]`"
        );
        return Err(crate::Error::new(Kind::Unattributed, message));
    }
    Ok(context.without(missing))
}

fn asks_for_usage(settings: &Settings, host: &str, accepts: bool, api: Api) -> bool {
    settings.stream_usage == StreamUsage::Auto
        && (accepts || (api == Api::Chat && settings.stream_usage_hosts.iter().any(|known| **known == *host)))
}

/// Whether a body may grow: not if the caller has signed it, measured it or packed it.
fn may_be_changed(request: &Request) -> bool {
    const FIXED: [&str; 7] = [
        "content-length",
        "content-encoding",
        "content-md5",
        "content-digest",
        "digest",
        "signature",
        "x-amz-content-sha256",
    ];
    let headers = request.headers();
    let signed = headers.get(header::AUTHORIZATION).is_some_and(|value| {
        value.as_bytes().starts_with(b"AWS4-") || value.as_bytes().starts_with(b"Signature")
    });
    !signed && !FIXED.iter().any(|name| headers.contains_key(*name))
}

/// The address of the host's API, without credentials, query and endpoint.
fn base(request: &Request, path: usize) -> Box<str> {
    let url = request.url();
    let host = url.host_str().unwrap_or_default();
    let whole = url.path();
    let path = whole.get(..path).unwrap_or_default().trim_end_matches('/');
    // Anthropic's clients are given the host alone, and say so.
    let path = if whole.contains("/v1/messages") {
        path.trim_end_matches("/v1").to_owned()
    } else {
        format!("{path}/")
    };
    match url.port() {
        Some(port) => format!("{}://{host}:{port}{path}", url.scheme()).into(),
        None => format!("{}://{host}{path}", url.scheme()).into(),
    }
}

impl Attempted {
    /// The id of the event that this will be.
    #[cfg(feature = "async-openai")]
    pub(crate) fn id(&self) -> Option<uuid::Uuid> {
        self.attempt.receipt().map(|receipt| receipt.event_id())
    }

    /// What came back, watched from now on.
    pub(crate) fn result(self, result: Result<Response, backend::Error>) -> Result<Response, backend::Error> {
        match result {
            Ok(response) => Ok(self.watch(response)),
            Err(error) => {
                self.attempt.fail(code(&error));
                Err(error)
            }
        }
    }

    fn watch(mut self, response: Response) -> Response {
        let url = response.url().clone();
        let (mut parts, body) = http::Response::<backend::Body>::from(response).into_parts();
        if let Some(exchange) = self.attempt.exchange() {
            exchange.response_headers = answered(&parts.headers);
        }
        if let Some(receipt) = self.attempt.receipt() {
            parts.extensions.insert(receipt);
        }
        let text = |name| parts.headers.get(name).and_then(|v: &header::HeaderValue| v.to_str().ok());
        let head = Head {
            status: parts.status.as_u16(),
            content_type: text(header::CONTENT_TYPE).unwrap_or_default(),
            content_encoding: text(header::CONTENT_ENCODING).unwrap_or_default(),
            said: said(&parts.headers),
        };
        let watch = Watch::new(self.attempt, self.api, head, self.keep, self.hide);
        if watch.is_hiding() {
            // The stream becomes shorter than it was announced, if it was.
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let body = backend::Body::wrap(Tee::new(body, watch, body_code));
        // The address is an extension of a type that only this builder can make.
        if let Ok(made) = http::Response::builder().url(url).body(()) {
            parts.extensions.extend(made.into_parts().0.extensions);
        }
        Response::from(http::Response::from_parts(parts, body))
    }
}

/// Bedrock counts in the head of its answers, beside whatever the model says in the body.
fn said(headers: &header::HeaderMap) -> Option<Usage> {
    let count = |name: &str| headers.get(name)?.to_str().ok()?.parse().ok();
    let input = count("x-amzn-bedrock-input-token-count")?;
    let other = |name: &str| count(name).unwrap_or(0);
    Some(
        Usage::new()
            .with(Bucket::Input, input)
            .with(Bucket::Output, other("x-amzn-bedrock-output-token-count"))
            .with(Bucket::CacheRead, other("x-amzn-bedrock-cache-read-input-token-count"))
            .with(Bucket::CacheWrite, other("x-amzn-bedrock-cache-write-input-token-count")),
    )
}

/// An answer's headers, without those that identify somebody or describe only the transport.
fn answered(headers: &header::HeaderMap) -> Vec<(Box<str>, Box<str>)> {
    headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            !name.starts_with("content-")
                && !matches!(
                    name,
                    "transfer-encoding"
                        | "set-cookie"
                        | "set-cookie2"
                        | "cookie"
                        | "authorization"
                        | "proxy-authorization"
                        | "www-authenticate"
                        | "proxy-authenticate"
                )
        })
        .filter_map(|(name, value)| Some((name.as_str().into(), value.to_str().ok()?.into())))
        .collect()
}

fn body_code(error: &dyn Any) -> &'static str {
    error.downcast_ref::<backend::Error>().map_or("body", code)
}

/// What went wrong, in a word.
pub(crate) fn code(error: &backend::Error) -> &'static str {
    match () {
        () if error.is_timeout() => "timeout",
        () if error.is_connect() => "connect",
        () if error.is_redirect() => "redirect",
        () if error.is_builder() => "request",
        () if error.is_body() => "body",
        () if error.is_decode() => "decode",
        () => "transport",
    }
}
