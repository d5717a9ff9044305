//! A layer that tracks what a tower service sends: hyper's client, or any other service of
//! `http::Request`.
//!
//! ```
//! # use payi_core::clients as payi;
//! use tower_layer::Layer;
//!
//! # #[derive(Clone)]
//! # struct Hyper;
//! # let hyper = Hyper;
//! let http = payi::tower::CallLayer::new().layer(hyper);
//! # let _ = http;
//! ```
//!
//! The inner service gets a [`CallBody`] around the request's body, and the caller an [`AnswerBody`] around the
//! answer's; nothing is buffered beyond what a body has ready at once, which is where the model's name is
//! found. What needs the whole of a request is only done where all of it was ready.
//!
//! The error is a `Box<dyn Error + Send + Sync>`, as tower's own layers have it, so that a refusal fits into
//! it: [`payi::Error::find`](crate::Error::find) locates it.

use std::{
    any::Any,
    collections::VecDeque,
    error::Error as StdError,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context as Task, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    clients::{
        body::{Tee, Watch},
        call::Repeat,
        capture::KEPT_MAX,
        incoming::{self, Begun},
        outgoing::{self, Outgoing, Ready},
    },
    context::Context,
};

type BoxError = Box<dyn StdError + Send + Sync>;

/// Tracks the calls of the services that it is laid over.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallLayer(());

impl CallLayer {
    /// A layer.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService { inner }
    }
}

/// A service whose requests are tracked: what [`CallLayer`] makes.
#[derive(Clone, Debug)]
pub struct CallService<S> {
    inner: S,
}

/// How Pay-i knows the client.
const MODULE: &str = "tower";

/// In a request's extensions: it has been counted, and who meets it further in has nothing to add.
#[derive(Clone, Copy, Debug)]
struct Counted;

impl<S, B, A> Service<Request<B>> for CallService<S>
where
    S: Service<Request<CallBody<B>>, Response = Response<A>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send,
    A: Body<Data = Bytes>,
    A::Error: 'static,
{
    type Response = Response<AnswerBody<A>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(task).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let context = Context::current();
        // The one that was made ready goes; its copy waits for the next call.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let counted = head.extensions.get::<Counted>().is_some();
            let body = if counted { CallBody::new(body) } else { CallBody::filled(body).await };
            let mut request = Request::from_parts(head, body);
            let begun = if counted { None } else { begin(context, &mut request).await? };
            let Some(begun) = begun else {
                let answer = inner.call(request).await.map_err(Into::into)?;
                return Ok(answer.map(|body| AnswerBody::new(body, Watch::none())));
            };
            request.extensions_mut().insert(Counted);
            match inner.call(request).await {
                Ok(answer) => {
                    let (mut head, body) = answer.into_parts();
                    let watch = begun.answered(&mut head);
                    Ok(Response::from_parts(head, AnswerBody::new(body, watch)))
                }
                Err(error) => {
                    let error = error.into();
                    begun.fail(incoming::code(&*error));
                    Err(error)
                }
            }
        })
    }
}

async fn begin<B: Body<Data = Bytes>>(
    context: Context,
    request: &mut Request<CallBody<B>>,
) -> crate::Result<Option<Begun>> {
    let mut headers = std::mem::take(request.headers_mut());
    let whole = request.body().whole();
    let uri = request.uri();
    let outgoing = Outgoing {
        method: request.method().as_str(),
        scheme: uri.scheme_str().unwrap_or("https"),
        host: uri.host().unwrap_or_default(),
        port: uri.port_u16(),
        path: uri.path(),
        body: whole.as_deref(),
        module: MODULE,
    };
    let begun = outgoing::begin(context, outgoing, &mut headers, Repeat::NONE).wait().await;
    *request.headers_mut() = headers;
    let Some(Ready { begun, body }) = begun? else { return Ok(None) };
    if let Some(body) = body {
        request.body_mut().ready = VecDeque::from([Frame::data(body.into())]);
    }
    Ok(Some(begun))
}

pin_project_lite::pin_project! {
    /// The body of a tracked request: what was ready of it at once, and then the rest.
    pub struct CallBody<B: Body> {
        ready: VecDeque<Frame<Bytes>>,
        broken: Option<B::Error>,
        done: bool,
        #[pin]
        rest: B,
    }
}

impl<B: Body<Data = Bytes>> CallBody<B> {
    const fn new(rest: B) -> Self {
        Self { ready: VecDeque::new(), broken: None, done: false, rest }
    }

    /// The same with what is ready, up to a bound, taken out of `rest`: it waits for nothing.
    async fn filled(rest: B) -> Self
    where
        B: Unpin,
    {
        let mut body = Self::new(rest);
        let mut bytes = 0;
        poll_fn(|task| {
            while bytes <= KEPT_MAX && !body.rest.is_end_stream() {
                match Pin::new(&mut body.rest).poll_frame(task) {
                    Poll::Pending => return Poll::Ready(()),
                    Poll::Ready(Some(Ok(frame))) => {
                        bytes += frame.data_ref().map_or(0, Bytes::len);
                        body.ready.push_back(frame);
                    }
                    Poll::Ready(Some(Err(error))) => {
                        body.broken = Some(error);
                        return Poll::Ready(());
                    }
                    Poll::Ready(None) => break,
                }
            }
            body.done = bytes <= KEPT_MAX;
            Poll::Ready(())
        })
        .await;
        body
    }

    /// All of it, if all of it was ready.
    fn whole(&self) -> Option<Bytes> {
        let frames = self.ready.iter().map(Frame::data_ref).collect::<Option<Vec<_>>>()?;
        match &*frames {
            _ if !self.done => None,
            [one] => Some(Bytes::clone(one)),
            several => Some(several.iter().flat_map(|bytes| bytes.iter().copied()).collect()),
        }
    }
}

impl<B: Body<Data = Bytes>> Body for CallBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if let Some(frame) = this.ready.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = this.broken.take() {
            *this.done = true;
            return Poll::Ready(Some(Err(error)));
        }
        if *this.done { Poll::Ready(None) } else { this.rest.poll_frame(task) }
    }

    fn size_hint(&self) -> SizeHint {
        let ready: usize = self.ready.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let ready = ready as u64;
        if self.done {
            return SizeHint::with_exact(ready);
        }
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ready));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ready));
        }
        hint
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.broken.is_none() && (self.done || self.rest.is_end_stream())
    }
}

impl<B: Body> fmt::Debug for CallBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallBody").field("done", &self.done).finish_non_exhaustive()
    }
}

pin_project_lite::pin_project! {
    /// The body of an answer, read by the way. Dropping it before its end ends the call as aborted.
    pub struct AnswerBody<B: Body> {
        #[pin]
        tee: Tee<B>,
    }
}

impl<B: Body<Data = Bytes>> AnswerBody<B> {
    fn new(inner: B, watch: Watch) -> Self {
        Self { tee: Tee::new(inner, watch, |_: &dyn Any| "body") }
    }
}

impl<B: Body<Data = Bytes>> Body for AnswerBody<B>
where
    B::Error: 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().tee.poll_frame(task)
    }

    fn size_hint(&self) -> SizeHint {
        self.tee.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.tee.is_end_stream()
    }
}

impl<B: Body> fmt::Debug for AnswerBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody").finish_non_exhaustive()
    }
}
