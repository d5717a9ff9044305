//! A service that tracks [async-openai](https://docs.rs/async-openai/0.43) (0.43): one line at the client's construction.
//!
//! ```no_run
//! # use payi_core::clients as payi;
//! let client = async_openai::Client::new().with_http_service(payi::async_openai::service());
//! # let _: async_openai::Client<_> = client;
//! ```
//!
//! async-openai repeats what was refused for being too frequent, and what failed at the server; that
//! layer is kept. Each attempt leaves an event of its own, because each may be billed; all attempts
//! of one call share its `call_id`.
//!
//! `payi` never enables async-openai's feature `byot`: cargo would enable it for the whole program, and
//! `create_stream` stops setting `stream` with it.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context as Task, Poll},
};

use ::async_openai::{
    error::OpenAIError,
    middleware::{HttpRequestFactory, retry::OpenAIRetryLayer},
};
use ::reqwest::Response;
use tower::{Layer, Service};
use uuid::Uuid;

use crate::{
    clients::{call::Repeat, reqwest},
    context::Context,
};

type Sending = Pin<Box<dyn Future<Output = Result<Response, OpenAIError>> + Send>>;

/// A tracked service over a client with reqwest's defaults, for `with_http_service`.
pub fn service() -> HttpService {
    HttpService::from(reqwest::Client::new())
}

/// The same over a client of your own: time limits, proxies and certificates are set there.
///
/// ```
/// # use payi_core::clients as payi;
/// # let inner = payi::reqwest::Client::new().as_reqwest().clone();
/// let service = payi::async_openai::service_with(inner);
/// let client = async_openai::Client::new().with_http_service(service);
/// # let _: async_openai::Client<_> = client;
/// ```
pub fn service_with(client: ::reqwest::Client) -> HttpService {
    HttpService::from(reqwest::Client::from(client))
}

/// Sends async-openai's requests, tracked, and repeats them as async-openai does.
#[derive(Clone)]
pub struct HttpService(<OpenAIRetryLayer as Layer<Attempts>>::Service);

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService").finish_non_exhaustive()
    }
}

impl From<reqwest::Client> for HttpService {
    fn from(client: reqwest::Client) -> Self {
        Self(OpenAIRetryLayer::default().layer(Attempts(client)))
    }
}

impl HttpService {
    /// Repeats what fails so many times instead of three; 0 repeats nothing.
    pub fn max_retries(client: reqwest::Client, retries: usize) -> Self {
        Self(OpenAIRetryLayer::new(retries).layer(Attempts(client)))
    }
}

impl Service<HttpRequestFactory> for HttpService {
    type Response = Response;
    type Error = OpenAIError;
    type Future = Sending;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), OpenAIError>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, request: HttpRequestFactory) -> Sending {
        // The one snapshot of this call; its repetitions are for the same user.
        let call =
            Arc::new(Call { context: Context::current(), id: OnceLock::new(), attempts: AtomicU32::new(0) });
        let outer = Calling::enter(Arc::clone(&call));
        let sending = self.0.call(request);
        drop(outer);
        Box::pin(InCall { call, sending })
    }
}

/// One call, whose attempts are told apart by their number.
struct Call {
    context: Context,
    /// The event of the first attempt.
    id: OnceLock<Uuid>,
    attempts: AtomicU32,
}

thread_local! {
    /// The call whose attempts are being made; set only while they are polled.
    static CALL: Cell<Option<Arc<Call>>> = const { Cell::new(None) };
}

/// The call around, put back when this is dropped.
struct Calling(Option<Arc<Call>>);

impl Calling {
    fn enter(call: Arc<Call>) -> Self {
        Self(CALL.try_with(|current| current.replace(Some(call))).unwrap_or(None))
    }

    fn current() -> Option<Arc<Call>> {
        CALL.try_with(|current| {
            let call = current.take();
            current.set(call.clone());
            call
        })
        .unwrap_or(None)
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        let outer = self.0.take();
        let _ = CALL.try_with(|current| current.replace(outer));
    }
}

/// The attempts of one call: async-openai's layer makes each by calling the service below anew.
struct InCall {
    call: Arc<Call>,
    sending: Sending,
}

impl Future for InCall {
    type Output = Result<Response, OpenAIError>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let _calling = Calling::enter(Arc::clone(&self.call));
        self.sending.as_mut().poll(task)
    }
}

/// Makes one attempt.
#[derive(Clone, Debug)]
struct Attempts(reqwest::Client);

impl Service<HttpRequestFactory> for Attempts {
    type Response = Response;
    type Error = OpenAIError;
    type Future = Sending;

    fn poll_ready(&mut self, _task: &mut Task<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, factory: HttpRequestFactory) -> Sending {
        let client = self.0.as_reqwest().clone();
        let call = Calling::current();
        let context = call.as_ref().map_or_else(Context::current, |call| call.context.clone());
        Box::pin(async move {
            let mut request = factory.build().await?;
            let repeat = call.as_ref().map_or(Repeat::NONE, |call| Repeat {
                call_id: call.id.get().copied(),
                attempt: call.attempts.fetch_add(1, Ordering::Relaxed) + 1,
            });
            let begun = reqwest::attempt(context, &mut request, repeat, MODULE).await;
            // Their error shows itself as what is inside of it, so that `find` meets only what is inside of that.
            let refused = |refused| OpenAIError::Boxed(Box::new(reqwest::Error::from(refused)));
            let Some(begun) = begun.map_err(refused)? else {
                return client.execute(request).await.map_err(OpenAIError::Reqwest);
            };
            if let (Some(call), Some(id)) = (&call, begun.id()) {
                let _ = call.id.set(id);
            }
            reqwest::result(begun, client.execute(request).await).map_err(OpenAIError::Reqwest)
        })
    }
}

/// How Pay-i knows the client.
const MODULE: &str = "async-openai";
