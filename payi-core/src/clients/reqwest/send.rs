//! One attempt: reqwest's requests and responses, as any client's.

use std::{
    any::Any,
    future::{self, Future},
    pin::Pin,
    task::{Context as Task, Poll},
};

use super::{
    Error,
    backend::{self, Client, Request, Response, ResponseBuilderExt},
};
use crate::{
    clients::{
        body::Tee,
        call::Repeat,
        incoming::Begun,
        outgoing::{self, AtOnce, Outgoing, Ready, Unprepared},
    },
    context::Context,
};

/// Sends `request`, if it could be built, for `context`.
#[expect(clippy::manual_async_fn, reason = "an async fn keeps its arguments twice, in every caller's future")]
pub(crate) fn send(
    context: Context,
    client: Client,
    mut request: Result<Request, Error>,
) -> impl Future<Output = Result<Response, Error>> + Send {
    async move {
        let begun = match &mut request {
            Ok(request) => attempt(context, request, Repeat::NONE, MODULE).await?,
            Err(_) => None,
        };
        // In two statements: what `?` looks at would be kept until the answer comes.
        let sending = client.execute(request?);
        let answer = sending.await;
        Ok(match begun {
            Some(begun) => result(begun, answer)?,
            None => answer?,
        })
    }
}

/// How Pay-i knows the client.
const MODULE: &str = "reqwest";

/// Begins an attempt; `None` if nobody is listening, or a relay of ours will count it. This is no `async fn`, so that what
/// most calls need not wait for has no room in their futures.
pub(crate) fn attempt<'r>(
    context: Context,
    request: &'r mut Request,
    repeat: Repeat,
    module: &'static str,
) -> Attempting<'r> {
    match outgoing::at_once(context, &outgoing(request, module), request.headers(), repeat) {
        AtOnce::Known(begun) => Attempting::Known(future::ready(begun)),
        AtOnce::NotYet(unprepared) => {
            Attempting::NotYet(Box::pin(prepared(unprepared, request, repeat, module)))
        }
    }
}

/// An attempt, once it has begun.
#[must_use = "futures do nothing unless polled"]
pub(crate) enum Attempting<'r> {
    Known(future::Ready<crate::Result<Option<Begun>>>),
    NotYet(Pin<Box<dyn Future<Output = crate::Result<Option<Begun>>> + Send + 'r>>),
}

impl Future for Attempting<'_> {
    type Output = crate::Result<Option<Begun>>;

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Known(begun) => Pin::new(begun).poll(task),
            Self::NotYet(prepared) => prepared.as_mut().poll(task),
        }
    }
}

async fn prepared(
    unprepared: Unprepared,
    request: &mut Request,
    repeat: Repeat,
    module: &'static str,
) -> crate::Result<Option<Begun>> {
    let mut headers = std::mem::take(request.headers_mut());
    let beginning = unprepared.begin(outgoing(request, module), &mut headers, repeat);
    let begun = beginning.wait().await;
    *request.headers_mut() = headers;
    let Some(Ready { begun, body }) = begun? else { return Ok(None) };
    if let Some(body) = body {
        *request.body_mut() = Some(body.into());
    }
    Ok(Some(begun))
}

fn outgoing<'r>(request: &'r Request, module: &'static str) -> Outgoing<'r> {
    let url = request.url();
    Outgoing {
        method: request.method().as_str(),
        scheme: url.scheme(),
        host: url.host_str().unwrap_or_default(),
        port: url.port(),
        path: url.path(),
        body: request.body().and_then(backend::Body::as_bytes),
        module,
    }
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
    let (watch, receipt) = begun.watch(&mut parts);
    let body = backend::Body::wrap(Tee::new(body, watch, body_code));
    // The address is an extension of a type that only this builder can make.
    let mut builder = http::Response::builder();
    if let Some(extensions) = builder.extensions_mut() {
        *extensions = std::mem::take(&mut parts.extensions);
    }
    if let Some(extensions) = builder.url(url).extensions_mut() {
        parts.extensions = std::mem::take(extensions);
    }
    let mut response = Response::from(http::Response::from_parts(parts, body));
    // The address is no extension any more, and leaves room.
    if let Some(receipt) = receipt {
        response.extensions_mut().insert(receipt);
    }
    response
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
