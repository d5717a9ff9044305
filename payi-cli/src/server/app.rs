//! What every handler shares: a few readers of the ledger, and news of its growth.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use payi_core::{
    Error,
    ledger::{
        Ledger,
        read::{Answer, Health, View},
    },
    pricing::PriceBook,
};
use tokio::sync::{Semaphore, watch};

use crate::server::traffic::Traffic;

/// Reports read at the same time; each has its own connection to the file.
const READERS: usize = 4;

/// What [`App::news`] says last.
pub(crate) const CLOSED: i64 = -1;

/// The state behind every address. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    readers: Mutex<Vec<Ledger>>,
    free: Semaphore,
    news: watch::Sender<i64>,
    started: Instant,
    traffic: Traffic,
    book: &'static PriceBook,
}

impl App {
    /// Opens the readers.
    pub(crate) fn new(ledger: &Ledger, book: &'static PriceBook) -> payi_core::Result<Self> {
        let readers = (0..READERS).map(|_| ledger.reopen()).collect::<payi_core::Result<Vec<_>>>()?;
        let (news, _) = watch::channel(ledger.last_seq()?);
        Ok(Self(Arc::new(Inner {
            readers: Mutex::new(readers),
            free: Semaphore::new(READERS),
            news,
            started: Instant::now(),
            traffic: Traffic::default(),
            book,
        })))
    }

    /// Reads a moment of the ledger, off the threads that serve connections.
    pub(crate) async fn view<T: Send + 'static>(
        &self,
        work: impl FnOnce(&View<'_>) -> Answer<T> + Send + 'static,
    ) -> Result<T, Failed> {
        self.read(move |ledger| ledger.view(work)).await?.map_err(Failed::Ledger)
    }

    /// Lends a reader of the ledger, off the threads that serve connections.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> T + Send + 'static,
    ) -> Result<T, Failed> {
        let app = self.0.clone();
        let _turn = self.0.free.acquire().await.map_err(|_| Failed::Closing)?;
        let done = tokio::task::spawn_blocking(move || {
            let reader = app.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(reader) = reader else { return Err(Failed::Closing) };
            let done = work(&reader);
            app.readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            Ok(done)
        });
        done.await.map_err(|_| Failed::Closing)?
    }

    /// Follows the ledger until the service ends, so that open pages learn of new events.
    pub(crate) async fn watch(self) {
        const PAUSE: Duration = Duration::from_secs(1);
        loop {
            tokio::time::sleep(PAUSE).await;
            if self.0.news.receiver_count() == 0 {
                continue;
            }
            if let Ok(health) = self.view(health).await {
                self.0
                    .news
                    .send_if_modified(|last| std::mem::replace(last, health.last_seq) != health.last_seq);
            }
        }
    }

    /// Ends the streams that would never end by themselves.
    pub(crate) fn close(&self) {
        self.0.news.send_replace(CLOSED);
    }

    /// The number of the newest event, as it grows; [`CLOSED`] at the end.
    pub(crate) fn news(&self) -> watch::Receiver<i64> {
        self.0.news.subscribe()
    }

    /// What was asked for.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    /// The book that calls are priced by.
    pub(crate) fn book(&self) -> &'static PriceBook {
        self.0.book
    }

    /// How long the service has run.
    pub(crate) fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }
}

/// How the ledger is doing; a function, because `View::health` holds for one lifetime only.
pub(crate) fn health(view: &View<'_>) -> Answer<Health> {
    view.health()
}

/// Why a report could not be made.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The ledger could not be read.
    Ledger(Error),
    /// The service is going down.
    Closing,
}
