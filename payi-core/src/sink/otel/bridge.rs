//! HTTP for the exporters: they may be polled by anybody, so requests run on a runtime of our own.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::{runtime::Handle, sync::Notify};

use crate::{Error, Result, error::Kind};

/// A runtime on a thread of its own, and a client that uses it.
#[derive(Debug)]
pub(crate) struct Bridge {
    client: Client,
    stop: Arc<Notify>,
}

#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    handle: Handle,
    /// The last answer's status, which an exporter's error does not tell; 0 if there was none.
    status: Arc<AtomicU16>,
}

impl Client {
    pub(crate) fn status(&self) -> u16 {
        self.status.load(Relaxed)
    }
}

impl Bridge {
    pub(crate) fn start(patience: Duration) -> Result<Self> {
        #[cfg(feature = "rustls")]
        crate::sink::tls::ensure_provider();
        let unusable = |e: Box<dyn std::error::Error + Send + Sync>| {
            Error::with_source(Kind::Config, "no HTTP client could be made for OpenTelemetry", e)
        };
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(patience)
            .build()
            .map_err(|e| unusable(e.into()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| unusable(e.into()))?;
        let (handle, stop) = (runtime.handle().clone(), Arc::new(Notify::new()));
        let stopped = Arc::clone(&stop);
        thread::Builder::new()
            .name("payi-otlp-http".into())
            .spawn(move || runtime.block_on(stopped.notified()))
            .map_err(|e| unusable(e.into()))?;
        Ok(Self { client: Client { http, handle, status: Arc::default() }, stop })
    }

    /// A client for one exporter.
    pub(crate) fn client(&self) -> Client {
        Client { status: Arc::default(), ..self.client.clone() }
    }

    /// Waits for `future`; not from within a runtime.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.client.handle.block_on(future)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        self.status.store(0, Relaxed);
        let sent = self.handle.spawn(async move {
            let response = http.execute(request.try_into()?).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut answer = Response::new(response.bytes().await?);
            *answer.status_mut() = status;
            *answer.headers_mut() = headers;
            Ok::<_, reqwest::Error>(answer)
        });
        let answer = sent.await?.map_err(reqwest::Error::without_url)?;
        self.status.store(answer.status().as_u16(), Relaxed);
        Ok(answer)
    }
}
