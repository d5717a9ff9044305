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
pub struct RequestBuilder(Made);

/// What is made of a request so far.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are well, and a box would be an allocation for each of them"
)]
enum Made {
    Well(backend::RequestBuilder),
    /// What cannot be sent, for a reason of ours.
    Refused(Box<backend::RequestBuilder>, crate::Error),
}

impl From<backend::RequestBuilder> for RequestBuilder {
    fn from(inner: backend::RequestBuilder) -> Self {
        Self(Made::Well(inner))
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Made::Well(inner) => inner.fmt(f),
            Made::Refused(inner, _) => inner.fmt(f),
        }
    }
}

impl RequestBuilder {
    /// Does with reqwest's own builder whatever it can do: `.with(|b| b.query(&[("a", 1)]))`,
    /// `.with(|b| b.multipart(form))`.
    #[inline]
    pub fn with(self, change: impl FnOnce(backend::RequestBuilder) -> backend::RequestBuilder) -> Self {
        match self.0 {
            Made::Well(inner) => Self(Made::Well(change(inner))),
            Made::Refused(inner, why) => Self(Made::Refused(Box::new(change(*inner)), why)),
        }
    }

    /// Adds a header.
    #[inline]
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
    #[inline]
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.with(|b| b.headers(headers))
    }

    /// HTTP basic authentication.
    pub fn basic_auth<U: fmt::Display, P: fmt::Display>(self, username: U, password: Option<P>) -> Self {
        self.with(|b| b.basic_auth(username, password))
    }

    /// HTTP bearer authentication.
    #[inline]
    pub fn bearer_auth(self, token: impl fmt::Display) -> Self {
        self.with(|b| b.bearer_auth(token))
    }

    /// Sets the body.
    #[inline]
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.with(|b| b.body(body))
    }

    /// Sets a JSON body, and the header that says so unless it is set. Needs no feature of reqwest.
    pub fn json<T: Serialize + ?Sized>(self, body: &T) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => {
                let typed = self.try_clone().and_then(|b| b.build().ok());
                let typed = typed.is_some_and(|request| request.headers().contains_key(CONTENT_TYPE));
                let sent = self.body(body);
                if typed { sent } else { sent.header(CONTENT_TYPE, "application/json") }
            }
            Err(error) => {
                let refused = crate::Error::with_source(
                    Kind::Config,
                    "the request's body cannot be written as JSON; see the source for what is in the way",
                    error,
                );
                match self.0 {
                    Made::Well(inner) => Self(Made::Refused(Box::new(inner), refused)),
                    Made::Refused(inner, _) => Self(Made::Refused(inner, refused)),
                }
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
        Some(Self(match &self.0 {
            Made::Well(inner) => Made::Well(inner.try_clone()?),
            Made::Refused(inner, why) => Made::Refused(Box::new(inner.try_clone()?), why.clone()),
        }))
    }

    /// The request.
    pub fn build(self) -> Result<Request, Error> {
        self.build_split().1
    }

    /// reqwest's client, and the request.
    #[inline]
    pub fn build_split(self) -> (Client, Result<Request, Error>) {
        match self.0 {
            Made::Well(inner) => {
                let (client, request) = inner.build_split();
                (client, request.map_err(Error::from))
            }
            Made::Refused(inner, why) => (inner.build_split().0, Err(why.into())),
        }
    }

    /// Sends the request and waits for the head of the answer.
    ///
    /// The context is read when this is called, not when the future is polled. The attempt begins at
    /// the first poll, and ends when the body of the answer has been read, or is dropped.
    #[inline]
    #[track_caller]
    pub fn send(self) -> impl Future<Output = Result<Response, Error>> + Send {
        let context = Context::current().called_at(Location::caller());
        let (client, request) = self.build_split();
        send::send(context, client, request)
    }
}
