//! The relay's server: takes a request, finds out whom it is for, forwards it, and passes the answer back as it
//! comes.

use std::{convert::Infallible, net::TcpListener as Listener, sync::Arc, time::Duration};

use ::reqwest::{Body, Request as Forwarded, Url};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::Shared;
use crate::{
    clients::{call::Repeat, reqwest},
    context::Context,
};

/// The first part of a path that says whom a call is for; a token follows.
pub(super) const SEGMENT: &str = "payi-";

/// The cookie that does.
const COOKIE: &str = "payi-context";

/// The cookie for a token.
pub(super) fn cookie(token: &Uuid) -> String {
    format!("{COOKIE}={token}")
}

/// How Pay-i knows the client.
const MODULE: &str = "payi-relay";

/// Says why there is an answer that the provider never gave.
const REFUSED: HeaderName = HeaderName::from_static("x-payi-refused");

/// The longest request that is read before it is forwarded, in bytes; a longer one passes unread, without
/// its model's name.
const READ_MAX: u64 = 64 * 1024 * 1024;

/// What belongs to one connection only, and is not forwarded.
const HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Serves whoever connects, until the runtime ends.
pub(super) async fn accept(listener: Listener, shared: Arc<Shared>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: some will come back.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(answer(&shared, request).await) }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).preserve_header_case(true);
        tokio::spawn(async move {
            // A connection that breaks has nobody left to be told.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    let (context, mut forwarded) = match forwarded(shared, request).await {
        Ok(forwarded) => forwarded,
        Err(Unreadable) => return own(StatusCode::BAD_REQUEST, "payi_request", "the request broke off"),
    };
    let begun = match reqwest::attempt(context, &mut forwarded, Repeat::NONE, MODULE).await {
        Ok(begun) => begun,
        Err(refused) => {
            let mut answer = own(StatusCode::FORBIDDEN, "payi_refused", &refused.to_string());
            let why = if refused.is_limit() { "limit" } else { "unattributed" };
            answer.headers_mut().insert(REFUSED, HeaderValue::from_static(why));
            return answer;
        }
    };
    let answer = shared.client.execute(forwarded).await;
    let answer = match begun {
        Some(begun) => reqwest::result(begun, answer),
        None => answer,
    };
    match answer {
        Ok(answer) => {
            let mut answer = Response::<Body>::from(answer);
            drop_hop(answer.headers_mut());
            answer
        }
        Err(error) => {
            let status =
                if error.is_timeout() { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY };
            own(status, "payi_upstream", "the provider did not answer")
        }
    }
}

/// The request's body broke off.
struct Unreadable;

/// Whom `request` is for, and what goes to the provider.
async fn forwarded(shared: &Shared, request: Request<Incoming>) -> Result<(Context, Forwarded), Unreadable> {
    let (head, body) = request.into_parts();
    let (named, path) = split(head.uri.path());
    let mut headers = head.headers;
    let token = named.map(str::to_owned).or_else(|| take_cookie(&mut headers));
    let context = token.and_then(|token| shared.table.find(&token));
    let context = context.unwrap_or_else(|| shared.context.clone());
    drop_hop(&mut headers);
    headers.remove(header::HOST);
    // So that the answer can be read; who asked for no packing gets none.
    headers.remove(header::ACCEPT_ENCODING);
    let mut forwarded = Forwarded::new(head.method, address(&shared.upstream, path, head.uri.query()));
    let short = body.size_hint().exact().is_some_and(|length| length <= READ_MAX);
    *forwarded.body_mut() = if body.is_end_stream() {
        None
    } else if short {
        headers.remove(header::CONTENT_LENGTH);
        Some(body.collect().await.map_err(|_broken| Unreadable)?.to_bytes().into())
    } else {
        Some(Body::wrap(body))
    };
    *forwarded.headers_mut() = headers;
    Ok((context, forwarded))
}

/// The token in a path, and the rest of it.
fn split(path: &str) -> (Option<&str>, &str) {
    let Some(rest) = path.strip_prefix('/').and_then(|path| path.strip_prefix(SEGMENT)) else {
        return (None, path);
    };
    match rest.find('/') {
        Some(end) => (Some(&rest[..end]), &rest[end..]),
        None => (Some(rest), ""),
    }
}

fn address(upstream: &Url, path: &str, query: Option<&str>) -> Url {
    let mut url = upstream.clone();
    let base = upstream.path().trim_end_matches('/');
    url.set_path(&format!("{base}{path}"));
    url.set_query(query);
    url
}

/// Takes our cookie out of the headers, and leaves the others.
fn take_cookie(headers: &mut HeaderMap) -> Option<String> {
    let mut token = None;
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?.to_owned();
    let others = cookies.split("; ").filter(|cookie| match cookie.split_once('=') {
        Some((COOKIE, ours)) => {
            token = Some(ours.to_owned());
            false
        }
        _ => true,
    });
    match others.collect::<Vec<_>>().join("; ") {
        empty if empty.is_empty() => drop(headers.remove(header::COOKIE)),
        others => drop(HeaderValue::from_str(&others).map(|value| headers.insert(header::COOKIE, value))),
    }
    token
}

fn drop_hop(headers: &mut HeaderMap) {
    for name in &HOP {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// An answer that the provider never gave, in the form of most providers' errors.
fn own(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let error = serde_json::json!({"error": {"type": "payi", "code": code, "message": message}});
    let mut answer = Response::new(Body::from(error.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
