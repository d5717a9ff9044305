//! A loopback address that stands in for a provider's and meters what passes: for clients that take a base
//! address, and whose HTTP client cannot be wrapped.
//!
//! Most such clients also take a plain `reqwest::Client`. A cookie says, request by request, whom it is
//! for; it goes to the relay and nowhere else:
//!
//! ```no_run
//! # use payi_core::clients as payi;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let relay = payi::relay::Relay::to("https://api.anthropic.com")?;
//! let http = reqwest::Client::builder().cookie_provider(relay.cookies()).build()?;
//! // AnthropicClient::builder(key, version).with_api_base_url(format!("{}/v1", relay.url())).with_http_client(http)
//! # let _ = http; Ok(())
//! # }
//! ```
//!
//! | the client takes | whom a call is for |
//! |---|---|
//! | a `reqwest::Client` 0.13 or 0.12, or its builder | [`cookies`](Relay::cookies): the scope in which it is made |
//! | a base address for each call | [`url_for`](Relay::url_for): the context given |
//! | only a base address | the scope in which the client's [`url_for`](Relay::url_for) was asked, or the relay started |
//!
//! Requests are forwarded as they are, but for what belongs to one connection only, and without
//! `Accept-Encoding`, so that answers can be read. The relay listens on 127.0.0.1 alone, on a thread of its
//! own, and stops when dropped; calls under way then end as aborted.
//!
//! A tracked client that is pointed at a relay leaves the counting to it: one attempt is one event.
//!
//! A refusal cannot travel as an error through HTTP: the client sees status 403, with
//! `x-payi-refused` and a JSON error of the code `payi_refused`.

mod cookies;
mod running;
mod serve;
mod table;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use tokio::sync::oneshot;

use crate::{
    Result,
    context::Context,
    error::{Error, Kind},
};

pub use cookies::Cookies;
pub(crate) use running::{is_at, takes_over};
use table::Table;

/// A relay to one provider.
pub struct Relay {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
}

/// What the relay's own thread and its cookies have in common.
#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    upstream: ::reqwest::Url,
    client: ::reqwest::Client,
    /// Whom calls are for that say nothing else.
    context: Context,
    table: Table,
}

impl Shared {
    /// Whether an address is the relay's.
    fn is_at(&self, host: &str, port: Option<u16>) -> bool {
        port == Some(self.address.port()) && matches!(host, "127.0.0.1" | "localhost")
    }
}

impl Relay {
    /// Starts a relay to `upstream`: `https://api.anthropic.com`, or an address with a path, which then
    /// comes before every request's own.
    ///
    /// Calls that say nothing else are for the scope in which this is called.
    ///
    /// # Errors
    ///
    /// [`is_config`](Error::is_config) if `upstream` is no `http` or `https` address, or if no port or thread
    /// can be had.
    pub fn to(upstream: impl AsRef<str>) -> Result<Self> {
        #[cfg(feature = "rustls")]
        crate::sink::tls::ensure_provider();
        // What goes through is passed on as it came, redirects and packed bodies included.
        let client = ::reqwest::Client::builder().redirect(::reqwest::redirect::Policy::none());
        let client = client.no_gzip().no_brotli().no_deflate().no_zstd().build();
        Self::with_client(upstream, client.map_err(|error| cannot("set up TLS", error))?)
    }

    /// The same, with a client of your own to forward with: its proxy, certificates and time limits hold.
    ///
    /// # Errors
    ///
    /// As [`to`](Self::to).
    pub fn with_client(upstream: impl AsRef<str>, client: ::reqwest::Client) -> Result<Self> {
        let upstream = address(upstream.as_ref())?;
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| cannot("listen on 127.0.0.1", error))?;
        let address = listener.local_addr().map_err(|error| cannot("listen on 127.0.0.1", error))?;
        let context = Context::current();
        let shared = Arc::new(Shared { address, upstream, client, context, table: Table::default() });
        running::add(&shared);
        let (stop, stopped) = oneshot::channel();
        start(listener, Arc::clone(&shared), stopped).map_err(|error| cannot("start its thread", error))?;
        Ok(Self { shared, stop: Some(stop) })
    }

    /// The address to give to a client instead of the provider's: `http://127.0.0.1:PORT`, without a slash
    /// at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.shared.address.port()
    }

    /// An address at which every call is for `context`: for a client that serves one user, or for one that
    /// asks for its address at each call.
    ///
    /// The last 16,384 of them are kept; calls to an older one are for whom the relay was started.
    pub fn url_for(&self, context: &Context) -> String {
        format!("{}/{}{}", self.url(), serve::SEGMENT, self.shared.table.keep(context.clone()))
    }

    /// What makes a `reqwest::Client`, of either major version, say whom each request is for: for
    /// `ClientBuilder::cookie_provider`.
    ///
    /// The client then has no cookie jar besides; APIs of models need none.
    pub fn cookies(&self) -> Arc<Cookies> {
        Arc::new(Cookies::new(Arc::clone(&self.shared)))
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

fn start(listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    thread::Builder::new().name("payi-relay".into()).spawn(move || {
        #[cfg(feature = "tracing")]
        crate::clients::tracing::forwards();
        runtime.block_on(async move {
            tokio::spawn(serve::accept(listener, shared));
            // Until the relay is dropped; what is still under way ends with the runtime.
            let _ = stopped.await;
        });
    })?;
    Ok(())
}

fn address(upstream: &str) -> Result<::reqwest::Url> {
    let url = ::reqwest::Url::parse(upstream).ok();
    let usable = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    usable.ok_or_else(|| {
        let message = "a relay needs the provider's address; write it like `https://api.anthropic.com`";
        Error::new(Kind::Config, message)
    })
}

fn cannot(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::with_source(Kind::Config, format!("the relay cannot {what}"), error)
}
