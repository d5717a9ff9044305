//! Several reports of one moment: a page whose parts agree with each other.

use std::time::SystemTime;

use rusqlite::Connection;
use uuid::Uuid;

use crate::{
    context::UseCase,
    error::Result,
    ledger::{
        Ledger, answers,
        read::{
            drivers::{self, Drivers},
            find::{self, Found},
            query::{Dimension, Query},
            requests::{self, RequestOrder, Requests, WithAttempts},
            scan::Reader,
            series::{self, Series},
        },
        unattributed::{self, CallSite},
    },
};

/// The ledger as it was at one moment; every report made with it agrees with the others.
#[derive(Debug)]
pub struct View<'c> {
    conn: &'c Connection,
    reader: Reader<'c>,
    as_of: SystemTime,
}

/// How the ledger itself is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The number of the newest fact.
    pub last_seq: i64,
    /// Attempts begun and not ended, of all processes.
    pub in_flight: u64,
    /// What was lost, by reason.
    pub losses: Vec<(String, u64)>,
    /// Deliverers: how many events each has yet to place, and how many it could not.
    pub deliverers: Vec<(String, u64, u64)>,
}

/// What a query for a [`View`] gives; an error of the database inside one.
pub type Answer<T> = std::result::Result<T, ViewError>;

/// A report could not be read. [`Ledger::view`] turns it into an [`Error`](crate::Error).
#[derive(Debug)]
pub struct ViewError(rusqlite::Error);

impl From<rusqlite::Error> for ViewError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error)
    }
}

impl View<'_> {
    /// When it was taken: it holds what was committed then.
    pub fn as_of(&self) -> SystemTime {
        self.as_of
    }

    /// Who or what spend is made of. Rows get their details if `bounds` names the slots of their trend:
    /// consecutive times, one more than slots.
    pub fn drivers(&self, query: &Query, bounds: &[SystemTime]) -> Answer<Drivers> {
        Ok(self.drivers_of(&[(query.clone(), bounds)])?.pop().unwrap_or_default())
    }

    /// Several such reports, in their order. Those that differ only in what they are split by are read together, which
    /// takes hardly longer than one.
    pub fn drivers_of(&self, asked: &[(Query, &[SystemTime])]) -> Answer<Vec<Drivers>> {
        Ok(drivers::drivers(&self.reader, asked)?)
    }

    /// Spend per slot of consecutive `bounds`, split by the query's first dimension: the `most` largest parts and
    /// the rest as one.
    pub fn series(&self, query: &Query, bounds: &[SystemTime], most: usize) -> Answer<Series> {
        Ok(series::series(&self.reader, query, bounds, most)?)
    }

    /// Attempts one by one, 10,000 at a time and the first million of an order at most.
    pub fn requests(&self, query: &Query, order: RequestOrder) -> Answer<Requests> {
        Ok(requests::requests(&self.reader, query, order)?)
    }

    /// One attempt in full, and the event ids of all attempts of its call where there were more.
    pub fn request(&self, id: Uuid) -> Answer<Option<WithAttempts>> {
        Ok(requests::request(self.conn, id)?)
    }

    /// The attempts whose event id is `part`, or begins or ends with it, hyphens or not; `None` if it can be no part of
    /// one: at least four hexadecimal digits. A part takes the time that reading all attempts takes.
    pub fn find(&self, part: &str) -> Answer<Option<Found>> {
        Ok(find::find(self.conn, part)?)
    }

    /// The event id of a collected event, by its category and its provider's response id.
    pub fn by_response(&self, category: &str, response_id: &str) -> Answer<Option<Uuid>> {
        Ok(answers::find(self.conn, category, response_id)?)
    }

    /// Up to `most` names of a dimension, A to Z.
    pub fn names(&self, dimension: Dimension, most: u32) -> Answer<Vec<String>> {
        Ok(dimension.names(self.conn, most)?)
    }

    /// Lines of code that make calls without a key that is required, the busiest first; those whose last such call
    /// began at `since` or later.
    pub fn call_sites(&self, since: Option<SystemTime>) -> Answer<Vec<CallSite>> {
        Ok(unattributed::call_sites(self.conn, since.map_or(i64::MIN, crate::ledger::rows::micros))?)
    }

    /// An instance of a use case, as the first event that names it has it; looks at every event that names one.
    pub fn instance(&self, name: &str, id: &str) -> Answer<Option<UseCase>> {
        Ok(requests::instance(self.conn, name, id)?)
    }

    /// When the first attempt in the ledger began.
    pub fn first(&self) -> Answer<Option<SystemTime>> {
        Ok(self.reader.first_us()?.map(crate::ledger::rows::time))
    }

    /// How the ledger itself is doing.
    pub fn health(&self) -> Answer<Health> {
        let last_seq = crate::ledger::append::last_seq(self.conn)?;
        let count = |n: i64| n.max(0).cast_unsigned();
        let in_flight =
            self.conn.query_row("SELECT count(*) FROM open_calls", [], |row| row.get(0).map(count))?;
        let losses = self
            .conn
            .prepare("SELECT reason, count FROM losses ORDER BY reason")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1).map(count)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let deliverers = self
            .conn
            .prepare(
                "SELECT name, ?1 - seq, (SELECT count(*) FROM quarantine q WHERE q.deliverer = c.name)
                 FROM cursors c ORDER BY name",
            )?
            .query_map([last_seq], |row| Ok((row.get(0)?, row.get(1).map(count)?, row.get(2).map(count)?)))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Health { last_seq, in_flight, losses, deliverers })
    }
}

impl Ledger {
    /// Runs several reports on one moment of the ledger.
    ///
    /// ```
    /// use payi_core::ledger::{Ledger, read::{Dimension, Query}};
    ///
    /// let ledger = Ledger::in_memory()?;
    /// let mut query = Query::default();
    /// query.by = vec![Dimension::User, Dimension::Account];
    /// let report = ledger.view(|view| view.drivers(&query, &[]))?;
    /// assert_eq!(report.count, 0);
    /// # Ok::<(), payi_core::Error>(())
    /// ```
    pub fn view<T>(&self, work: impl FnOnce(&View<'_>) -> Answer<T>) -> Result<T> {
        self.with(|conn| {
            let transaction = conn.unchecked_transaction()?;
            // A deferred transaction begins with its first read.
            transaction.query_row("SELECT count(*) FROM meta", [], |_| Ok(()))?;
            let view = View { conn, reader: Reader::new(conn)?, as_of: SystemTime::now() };
            let done = work(&view).map_err(|e| e.0)?;
            transaction.finish()?;
            Ok(done)
        })
    }

    /// A handle to the same ledger with a connection of its own, so that one reader does not wait for another.
    pub fn reopen(&self) -> Result<Self> {
        self.another()
    }

    /// Runs `work`, whose reports end with an error soon after `stop` says that nobody waits for them any more.
    ///
    /// To be used on a handle of one's own ([`reopen`](Self::reopen)). A ledger in memory has one connection for
    /// readers and writers: there, `work` runs to its end.
    ///
    /// ```
    /// use payi_core::ledger::{Filter, Ledger};
    /// use std::time::{Duration, Instant};
    ///
    /// let ledger = Ledger::in_memory()?;
    /// let until = Instant::now() + Duration::from_secs(60);
    /// let report = ledger.interruptible(move || Instant::now() > until, |ledger| ledger.users(&Filter::new()))?;
    /// # Ok::<(), payi_core::Error>(())
    /// ```
    pub fn interruptible<T>(
        &self,
        stop: impl FnMut() -> bool + Send + 'static,
        work: impl FnOnce(&Self) -> T,
    ) -> T {
        /// Takes the question back, also from a panic.
        struct Asking<'l>(&'l Ledger);
        impl Drop for Asking<'_> {
            fn drop(&mut self) {
                self.0.ask_whether_to_stop(None::<fn() -> bool>);
            }
        }
        if self.path().is_none() {
            return work(self);
        }
        self.ask_whether_to_stop(Some(stop));
        let _asking = Asking(self);
        work(self)
    }

    fn ask_whether_to_stop(&self, stop: Option<impl FnMut() -> bool + Send + 'static>) {
        /// Steps of SQLite's machine between two questions: about a microsecond, and few enough that short statements
        /// are asked about too.
        const STEPS: i32 = 100;
        // Some versions of rusqlite return nothing here, and others an error only for connections that are not ours.
        let _asks = self.lock().conn.progress_handler(STEPS, stop);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering::Relaxed},
        },
        time::{Duration, SystemTime},
    };

    use crate::ledger::{
        Folder, Ledger,
        read::{Query, RequestOrder, Requests},
        sample::{append, event, who},
    };

    /// A folded ledger of that many attempts, one a quarter of an hour.
    struct Place(std::path::PathBuf, Ledger);

    impl Place {
        fn new(name: &str, attempts: u32) -> Self {
            let path = std::env::temp_dir().join(format!("payi-view-{}-{name}.db", std::process::id()));
            let _ = std::fs::remove_file(&path);
            let ledger = Ledger::open(&path).unwrap();
            let events: Vec<_> = (0..attempts)
                .map(|n| {
                    let mut event = event(1);
                    event.started_at = SystemTime::now() - Duration::from_secs(900) * n;
                    (event, who(&format!("user-{:02}", n % 50)))
                })
                .collect();
            append(&ledger, &events);
            let folder = Folder::new(&ledger).unwrap();
            while folder.fold().unwrap() {}
            Self(path, ledger)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            for end in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{end}", self.0.display()));
            }
        }
    }

    #[test]
    fn a_report_that_nobody_waits_for_ends_and_the_next_one_is_whole() {
        let place = Place::new("interrupted", 500);
        let ledger = &place.1;
        let forever = |ledger: &Ledger| {
            ledger.view(|view| {
                loop {
                    view.requests(&Query::default(), RequestOrder::Cost)?;
                }
            })
        };
        let mut questions = 0;
        let ended: crate::Result<()> = ledger.interruptible(
            move || {
                questions += 1;
                questions > 50
            },
            forever,
        );
        assert!(ended.unwrap_err().is_ledger());
        let all = ledger.view(|view| view.drivers(&Query::default(), &[])).unwrap();
        assert_eq!(all.total.totals.attempts, 500);
    }

    /// Lists what a search finds, and says how many hundred steps SQLite took to find it.
    fn search(ledger: &Ledger, text: &str) -> (Requests, u64) {
        let steps = Arc::new(AtomicU64::new(0));
        let counted = steps.clone();
        let query = Query { search: text.into(), ..Query::default() };
        let found = ledger.interruptible(
            move || {
                counted.fetch_add(1, Relaxed);
                false
            },
            |ledger| ledger.view(|view| view.requests(&query, RequestOrder::Time)).unwrap(),
        );
        (found, steps.load(Relaxed))
    }

    #[test]
    fn a_search_reads_the_details_once_however_long_the_range() {
        let place = Place::new("search", 8_000);
        let ledger = &place.1;
        let all = ledger.view(|view| view.requests(&Query::default(), RequestOrder::Time)).unwrap();
        let id = all.rows.last().unwrap().id;
        let name = ledger.view(|view| view.request(id)).unwrap().unwrap().0.event.response_id.unwrap();
        let (found, one) = search(ledger, &name);
        assert_eq!(found.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [id]);
        let (none, nobody) = search(ledger, "nowhere");
        assert!(none.rows.is_empty() && !none.more);
        // Eight thousand details are some ten steps each.
        assert!(one < 4_000 && nobody < 4_000, "{one} and {nobody} hundred steps");
        let (user, _) = search(ledger, "user-07");
        assert!(!user.rows.is_empty());
        assert!(user.rows.iter().all(|row| row.user_id.as_deref() == Some("user-07")));
    }
}
