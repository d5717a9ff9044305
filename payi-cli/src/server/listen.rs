//! Sockets: one address, a bound on everything a client may hold, and an orderly end.

use std::{fmt, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use payi_core::{ledger::Ledger, pricing::PriceBook};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;

use crate::server::{App, routes};

/// Connections open at one time; further ones wait in the system's queue.
const CONNECTIONS: usize = 512;
/// Connections that the system keeps waiting for those.
const WAITING: u32 = 1_024;
/// How long a client may take over the head of a request, and a connection may idle.
const HEAD: Duration = Duration::from_secs(15);
/// How long a client may read nothing of its answer.
const UNREAD: Duration = Duration::from_secs(30);
/// How long requests may take to end once the service is asked to.
const GRACE: Duration = Duration::from_secs(10);

/// How the service runs.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Where it listens: a loopback address.
    pub listen: SocketAddr,
    /// Whether prompts and answers that clients send are kept.
    pub keep_prompts: bool,
    /// The book that calls are priced by.
    pub prices: &'static PriceBook,
}

impl Default for Options {
    fn default() -> Self {
        Self { listen: crate::server::LISTEN, keep_prompts: false, prices: PriceBook::embedded() }
    }
}

/// The service could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// Other machines could reach the address, and there are no keys yet that would keep them out.
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The ledger cannot be read.
    Ledger(payi_core::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoopback(address) => write!(
                f,
                "{address} can be reached from other machines, and payi has no keys yet that would keep them out; \
                 listen on a loopback address such as 127.0.0.1:8377"
            ),
            Self::Listen(address, e) => write!(f, "cannot listen on {address}: {e}"),
            Self::Ledger(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {}

/// Serves `ledger` until `stop` is done, then lets open requests end. `ready` is told the address once
/// connections are taken (its port, if the options ask for any).
///
/// # Errors
/// [`ServeError`] if the service cannot start.
pub async fn serve(
    ledger: &Ledger,
    options: Options,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = options.listen;
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    let app = App::new(ledger, options.prices).map_err(ServeError::Ledger)?;
    let router = routes(app.clone(), ledger, options.keep_prompts).map_err(ServeError::Ledger)?;
    let listener = listen(address).map_err(|e| ServeError::Listen(address, e))?;
    let address = listener.local_addr().map_err(|e| ServeError::Listen(address, e))?;
    let watcher = tokio::spawn(app.clone().watch());
    ready(address);
    accept(&listener, &router, stop, &app).await;
    watcher.abort();
    Ok(())
}

/// The socket, with a queue that takes a burst of clients without having them try again.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Not on Windows, where it would let another program share the address.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

async fn accept(listener: &TcpListener, router: &Router, stop: impl Future<Output = ()>, app: &App) {
    let open = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let turn = tokio::select! {
            turn = open.clone().acquire_owned() => turn,
            () = &mut stop => break,
        };
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            () = &mut stop => break,
        };
        let stream = match stream {
            Ok((stream, _)) => stream,
            Err(e) => {
                // Out of file descriptors, most likely: wait for some to come back.
                tracing::warn!(error = %e, "payi serve: a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        // A client that reads nothing of its answer holds a place and a buffer, for so long.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(UNREAD));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(128 * 1024)
            .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _ = connection.await;
            drop(turn);
        });
    }
    app.close();
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
}
