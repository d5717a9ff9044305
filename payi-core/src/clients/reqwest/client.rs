//! The client: what makes requests.

use std::{future::Future, panic::Location};

use super::{
    Error, RequestBuilder,
    backend::{self, IntoUrl, Method, Request, Response},
    send,
};
use crate::context::Context;

/// A tracked client. Cheap to clone; clones share one pool of connections.
///
/// Time limits, proxies, certificates and all else are set on reqwest's own client, which is then
/// wrapped; payi sets nothing on it:
///
/// ```
/// # use payi_core::clients as payi;
/// # use std::time::Duration;
/// # fn main() -> Result<(), reqwest::Error> {
/// # rustls_ring();
/// let inner = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
/// let http = payi::reqwest::Client::from(inner);
/// # Ok(()) }
/// # fn rustls_ring() { let _ = payi::reqwest::Client::new(); }
/// ```
#[derive(Clone, Debug)]
pub struct Client(backend::Client);

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl From<backend::Client> for Client {
    fn from(client: backend::Client) -> Self {
        Self(client)
    }
}

impl Client {
    /// A client with reqwest's defaults.
    ///
    /// With the feature `rustls`, ring becomes the process's TLS provider if none has been installed:
    /// reqwest has none of its own here, and would panic.
    ///
    /// # Panics
    ///
    /// As `reqwest::Client::new()`: if TLS or name resolution cannot be set up. Build reqwest's client
    /// yourself, and wrap it, to handle that as an error.
    pub fn new() -> Self {
        #[cfg(feature = "rustls")]
        crate::sink::tls::ensure_provider();
        Self(backend::Client::new())
    }

    /// reqwest's own client, untracked.
    pub const fn as_reqwest(&self) -> &backend::Client {
        &self.0
    }

    /// A `GET` request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A `POST` request.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A `PUT` request.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A `PATCH` request.
    pub fn patch(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// A `DELETE` request.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// A `HEAD` request.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// A request of any kind. A wrong address is reported by [`send`](RequestBuilder::send).
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder::from(self.0.request(method, url))
    }

    /// Sends a request that is already built. The context is read now, not when the future is polled.
    #[track_caller]
    pub fn execute(&self, request: Request) -> impl Future<Output = Result<Response, Error>> + Send + use<> {
        send::send(Context::current().called_at(Location::caller()), self.0.clone(), Ok(request))
    }
}
