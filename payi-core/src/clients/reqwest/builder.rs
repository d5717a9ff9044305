//! A request in the making: reqwest's builder, whose `send` is tracked.

use std::{fmt, future::Future, panic::Location, time::Duration};

use serde::Serialize;

use super::{
    Error,
    backend::{
        self, Body, Client, Request, Response, Version,
        header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    },
    send,
};
use crate::{context::Context, error::Kind};

/// A request in the making.
///
/// Has reqwest's methods that need none of reqwest's features, and [`json`](Self::json); for all
/// others there is [`with`](Self::with).
#[must_use = "a request is sent by `send`"]
pub struct RequestBuilder {
    inner: backend::RequestBuilder,
    refused: Option<crate::Error>,
}

impl From<backend::RequestBuilder> for RequestBuilder {
    fn from(inner: backend::RequestBuilder) -> Self {
        Self { inner, refused: None }
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl RequestBuilder {
    /// Does with reqwest's own builder whatever it can do: `.with(|b| b.query(&[("a", 1)]))`,
    /// `.with(|b| b.multipart(form))`.
    pub fn with(mut self, change: impl FnOnce(backend::RequestBuilder) -> backend::RequestBuilder) -> Self {
        self.inner = change(self.inner);
        self
    }

    /// Adds a header.
    pub fn header<K, V>(self, key: K, value: V) -> Self
    where
        HeaderName: TryFrom<K>,
        <HeaderName as TryFrom<K>>::Error: Into<http::Error>,
        HeaderValue: TryFrom<V>,
        <HeaderValue as TryFrom<V>>::Error: Into<http::Error>,
    {
        self.with(|b| b.header(key, value))
    }

    /// Sets headers, in place of those of the same names.
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.with(|b| b.headers(headers))
    }

    /// HTTP basic authentication.
    pub fn basic_auth<U: fmt::Display, P: fmt::Display>(self, username: U, password: Option<P>) -> Self {
        self.with(|b| b.basic_auth(username, password))
    }

    /// HTTP bearer authentication.
    pub fn bearer_auth(self, token: impl fmt::Display) -> Self {
        self.with(|b| b.bearer_auth(token))
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.with(|b| b.body(body))
    }

    /// Sets a JSON body, and the header that says so unless it is set. Needs no feature of reqwest.
    pub fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => {
                let typed = self.try_clone().and_then(|b| b.build().ok());
                let typed = typed.is_some_and(|request| request.headers().contains_key(CONTENT_TYPE));
                let sent = self.body(body);
                if typed { sent } else { sent.header(CONTENT_TYPE, "application/json") }
            }
            Err(error) => {
                self.refused = Some(crate::Error::with_source(
                    Kind::Config,
                    "the request's body cannot be written as JSON; see the source for what is in the way",
                    error,
                ));
                self
            }
        }
    }

    /// The time limit, from connecting to the end of the answer's body.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|b| b.timeout(timeout))
    }

    /// The version of HTTP.
    pub fn version(self, version: Version) -> Self {
        self.with(|b| b.version(version))
    }

    /// A copy, unless the body is a stream.
    pub fn try_clone(&self) -> Option<Self> {
        Some(Self { inner: self.inner.try_clone()?, refused: self.refused.clone() })
    }

    /// The request.
    pub fn build(self) -> Result<Request, Error> {
        self.build_split().1
    }

    /// reqwest's client, and the request.
    pub fn build_split(self) -> (Client, Result<Request, Error>) {
        let (client, request) = self.inner.build_split();
        let request = match self.refused {
            Some(refused) => Err(refused.into()),
            None => request.map_err(Error::from),
        };
        (client, request)
    }

    /// Sends the request and waits for the head of the answer.
    ///
    /// The context is read when this is called, not when the future is polled. The attempt begins at
    /// the first poll, and ends when the body of the answer has been read, or is dropped.
    #[track_caller]
    pub fn send(self) -> impl Future<Output = Result<Response, Error>> + Send {
        let context = Context::current().called_at(Location::caller());
        let (client, request) = self.build_split();
        send::send(context, client, request)
    }
}
