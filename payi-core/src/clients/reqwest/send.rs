//! One attempt: reqwest's requests and responses, as any client's.

use std::any::Any;

use super::{
    Error,
    backend::{self, Client, Request, Response, ResponseBuilderExt},
};
use crate::{
    clients::{
        body::Tee,
        call::Repeat,
        outgoing::{self, Begun, Outgoing},
    },
    context::Context,
};

/// Sends `request`, if it could be built, for `context`.
pub(crate) async fn send(
    context: Context,
    client: Client,
    request: Result<Request, Error>,
) -> Result<Response, Error> {
    let mut request = request?;
    let Some(begun) = attempt(context, &mut request, Repeat::NONE, MODULE).await? else {
        return Ok(client.execute(request).await?);
    };
    Ok(result(begun, client.execute(request).await)?)
}

/// How Pay-i knows the client.
const MODULE: &str = "reqwest";

/// Begins an attempt; `None` if nobody is listening, and the request is not touched then.
pub(crate) async fn attempt(
    context: Context,
    request: &mut Request,
    repeat: Repeat,
    module: &'static str,
) -> crate::Result<Option<Begun>> {
    let mut headers = std::mem::take(request.headers_mut());
    let (url, method) = (request.url(), request.method());
    let outgoing = Outgoing {
        method: method.as_str(),
        scheme: url.scheme(),
        host: url.host_str().unwrap_or_default(),
        port: url.port(),
        path: url.path(),
        body: request.body().and_then(backend::Body::as_bytes),
        module,
    };
    let begun = outgoing::begin(context, outgoing, &mut headers, repeat).await;
    *request.headers_mut() = headers;
    let mut begun = begun?;
    if let Some(body) = begun.as_mut().and_then(Begun::take_body) {
        *request.body_mut() = Some(body.into());
    }
    Ok(begun)
}

/// What came back, watched from now on.
pub(crate) fn result(
    begun: Begun,
    result: Result<Response, backend::Error>,
) -> Result<Response, backend::Error> {
    match result {
        Ok(response) => Ok(watch(begun, response)),
        Err(error) => {
            begun.fail(code(&error));
            Err(error)
        }
    }
}

fn watch(begun: Begun, response: Response) -> Response {
    let url = response.url().clone();
    let (mut parts, body) = http::Response::<backend::Body>::from(response).into_parts();
    let watch = begun.answered(&mut parts);
    let body = backend::Body::wrap(Tee::new(body, watch, body_code));
    // The address is an extension of a type that only this builder can make.
    if let Ok(made) = http::Response::builder().url(url).body(()) {
        parts.extensions.extend(made.into_parts().0.extensions);
    }
    Response::from(http::Response::from_parts(parts, body))
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
