//! What stands before every address: who may ask, and what a browser may do with the answer.

use std::time::Duration;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Nothing but our own files, no frames, no inline script or style.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// How long a request may take from its head to the head of its answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Refuses names that are not this machine's (DNS rebinding) and writes from other sites (CSRF); sets the
/// headers that keep pages out of frames and foreign scripts out of pages.
pub(crate) async fn check(request: Request, next: Next) -> Response {
    let refused = refusal(request.method(), request.uri(), request.headers());
    let mut response = match refused {
        Some(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
        // Also bounds how long a client may take to send a body.
        None => match tokio::time::timeout(PATIENCE, next.run(request)).await {
            Ok(response) => response,
            Err(_) => (StatusCode::REQUEST_TIMEOUT, "this took too long\n").into_response(),
        },
    };
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn refusal(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name: HeaderName| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    let host = uri.authority().map(axum::http::uri::Authority::as_str).or_else(|| text(header::HOST));
    if !host.is_some_and(|host| is_this_machine(host_of(host)))
        || headers.get_all(header::HOST).iter().count() > 1
    {
        return Some("ask for this service by localhost, 127.0.0.1 or [::1]");
    }
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let foreign = text(header::ORIGIN).is_some_and(|origin| !is_own(origin))
        || text(HeaderName::from_static("sec-fetch-site")).is_some_and(|site| site == "cross-site");
    (!reads && foreign).then_some("this service takes writes from programs and from its own pages only")
}

/// Whether an `Origin` is this service, by whatever port it is reached.
fn is_own(origin: &str) -> bool {
    origin.strip_prefix("http://").is_some_and(|host| is_this_machine(host_of(host)))
}

/// `localhost:8377` → `localhost`.
fn host_of(authority: &str) -> &str {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: &Method, headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        refusal(method, &Uri::from_static("/"), &map).is_some()
    }

    #[test]
    fn only_names_of_this_machine_are_served() {
        for host in ["localhost", "localhost:8377", "127.0.0.1:1", "[::1]:8377", "LOCALHOST:80", "127.9.9.9"]
        {
            assert!(!refused(&Method::GET, &[("host", host)]), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example:8377", "10.0.0.1", "", "evil@evil.example", "0.0.0.0"]
        {
            assert!(refused(&Method::GET, &[("host", host)]), "{host}");
        }
        assert!(refused(&Method::GET, &[]));
        assert!(refused(&Method::GET, &[("host", "localhost"), ("host", "evil.example")]));
    }

    #[test]
    fn writes_come_from_programs_and_own_pages() {
        let host = ("host", "localhost:8377");
        assert!(!refused(&Method::POST, &[host]));
        assert!(!refused(&Method::POST, &[host, ("origin", "http://127.0.0.1:8377")]));
        assert!(refused(&Method::POST, &[host, ("origin", "https://evil.example")]));
        assert!(refused(&Method::PUT, &[host, ("origin", "null")]));
        assert!(refused(&Method::DELETE, &[host, ("sec-fetch-site", "cross-site")]));
        assert!(
            !refused(&Method::GET, &[host, ("sec-fetch-site", "cross-site")]),
            "a link from elsewhere may be followed"
        );
    }
}
