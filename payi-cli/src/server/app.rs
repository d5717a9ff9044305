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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

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
    free: Arc<Semaphore>,
    /// For what is asked while all readers are busy: how the ledger is doing.
    aside: Ledger,
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
            free: Arc::new(Semaphore::new(READERS)),
            aside: ledger.reopen()?,
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

    /// Lends a reader of the ledger, off the threads that serve connections. Whoever stops waiting, because his client
    /// has left or after too long a time, ends the work too.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> T + Send + 'static,
    ) -> Result<T, Failed> {
        let loan = Loan::of(&self.0).await?;
        // Gone with this future, whether it ends or is dropped.
        let waiting = Arc::new(());
        let waits = Arc::downgrade(&waiting);
        let nobody = move || waits.strong_count() == 0;
        let done = tokio::task::spawn_blocking(move || loan.reader.interruptible(nobody, work)).await;
        drop(waiting);
        done.map_err(|e| if e.is_panic() { Failed::Panicked } else { Failed::Closing })
    }

    /// How the ledger is doing, however busy the readers are.
    pub(crate) async fn health(&self) -> Result<Health, Failed> {
        let ledger = self.0.aside.clone();
        let done = tokio::task::spawn_blocking(move || ledger.view(health)).await;
        done.map_err(|_| Failed::Closing)?.map_err(Failed::Ledger)
    }

    /// Follows the ledger until the service ends, so that open pages learn of new events.
    pub(crate) async fn watch(self) {
        const PAUSE: Duration = Duration::from_secs(1);
        loop {
            tokio::time::sleep(PAUSE).await;
            if self.0.news.receiver_count() == 0 {
                continue;
            }
            if let Ok(health) = self.health().await {
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

/// A reader of the ledger that somebody uses. It goes back when this is dropped, also by a panic, and only then is
/// it the next one's turn.
struct Loan {
    reader: Ledger,
    app: Arc<Inner>,
    _turn: OwnedSemaphorePermit,
}

impl Loan {
    async fn of(app: &Arc<Inner>) -> Result<Self, Failed> {
        let turn = app.free.clone().acquire_owned().await.map_err(|_| Failed::Closing)?;
        let reader = app.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // There are as many readers as turns.
        let reader = reader.unwrap_or_else(|| app.aside.clone());
        Ok(Self { reader, app: app.clone(), _turn: turn })
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.app.readers.lock().unwrap_or_else(PoisonError::into_inner).push(self.reader.clone());
    }
}

/// A function, because `View::health` holds for one lifetime only.
fn health(view: &View<'_>) -> Answer<Health> {
    view.health()
}

/// Why a report could not be made.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The ledger could not be read.
    Ledger(Error),
    /// Our mistake; the message of the panic is on standard error.
    Panicked,
    /// The service is going down.
    Closing,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use payi_core::ledger::read::{Query, RequestOrder};

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    /// Over the sample ledger, in a file that is gone with the test.
    struct Place(App, std::path::PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("payi-app-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            payi_core::testing::sample_ledger(dir.join("payi.db"));
            let ledger = Ledger::open(dir.join("payi.db")).unwrap();
            Self(App::new(&ledger, PriceBook::embedded()).unwrap(), dir)
        }

        /// Every reader is as good as new.
        async fn reads(&self) {
            let all = (0..READERS).map(|_| self.0.view(|view| Ok(view.health()?.last_seq)));
            for seq in futures::future::join_all(all).await {
                assert!(seq.unwrap() > 0);
            }
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.1);
        }
    }

    #[tokio::test]
    async fn whoever_leaves_gives_his_reader_back_and_ends_its_work() {
        let place = Place::new("leave");
        for _ in 0..READERS {
            let forever = place.0.view(|view| -> Answer<()> {
                loop {
                    view.requests(&Query::default(), RequestOrder::Time)?;
                }
            });
            tokio::time::timeout(SOON, forever).await.unwrap_err();
        }
        tokio::time::timeout(Duration::from_secs(20), place.reads()).await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_costs_no_reader_and_is_not_the_end_of_the_service() {
        let place = Place::new("panic");
        for _ in 0..2 * READERS {
            let failed = place.0.read(|_| assert_eq!(1, 2, "on purpose")).await;
            assert!(matches!(failed, Err(Failed::Panicked)), "{failed:?}");
        }
        place.reads().await;
    }

    #[tokio::test]
    async fn health_is_told_while_all_readers_are_busy() {
        let place = Place::new("busy");
        let (end, busy) = std::sync::mpsc::channel::<()>();
        let busy = Arc::new(Mutex::new(busy));
        let works: Vec<_> = (0..READERS)
            .map(|_| {
                let (app, busy) = (place.0.clone(), busy.clone());
                tokio::spawn(async move { app.read(move |_| busy.lock().unwrap().recv().is_err()).await })
            })
            .collect();
        while place.0.0.free.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::timeout(SOON, place.reads()).await.unwrap_err();
        let told = tokio::time::timeout(Duration::from_secs(20), place.0.health()).await.unwrap();
        assert!(told.unwrap().last_seq > 0);
        drop(end);
        for work in works {
            assert!(work.await.unwrap().unwrap());
        }
    }
}
