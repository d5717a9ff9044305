//! The writer: one thread of our own that takes events from the queue and commits them in batches.
//!
//! It needs no runtime, so it outlives the user's. What it cannot write it keeps, up to a bound, and
//! tries again; it never gives an error, a wait or a panic back to a caller.

use std::{
    mem,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::{
    error::{Error, Kind, Result},
    events::Sink,
    ledger::{Durability, KEEP_PROMPTS, Keep, Ledger},
    limits::OnLimit,
    sink::{
        drain::Drain,
        keeper::Keeper,
        losses::LossReason,
        queue::{Message, Queue},
    },
};

/// How long a flush or a shutdown may take, unless said otherwise.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// How the writer works.
#[derive(Clone)]
#[non_exhaustive]
pub struct WriterOptions {
    /// The ledger's file; `None` keeps it in memory.
    pub path: Option<PathBuf>,
    /// What a commit survives.
    pub durability: Durability,
    /// How many events may wait to be written before further ones are refused (and counted).
    pub capacity: usize,
    /// Whether headers and tool calls are kept until deliverers have seen them.
    pub keep_exchanges: bool,
    /// How long prompts and answers are kept, where they are kept at all; 30 days.
    pub keep_prompts: Duration,
    /// How long dropping the writer may take.
    pub deadline: Duration,
    /// Called on the writer's thread after each commit; it must return at once.
    pub after_commit: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Called on the writer's thread when a limit's counter has come to another state; it must return at once.
    pub on_limit: Option<Arc<OnLimit>>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            path: None,
            durability: Durability::default(),
            capacity: 16_384,
            keep_exchanges: false,
            keep_prompts: KEEP_PROMPTS,
            deadline: DEADLINE,
            after_commit: None,
            on_limit: None,
        }
    }
}

impl WriterOptions {
    /// Into the file at `path`, with the defaults of the rest.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), ..Self::default() }
    }
}

/// What has become of the events so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriterMetrics {
    /// Events taken from callers: each is written, a duplicate, or among the losses.
    pub recorded: u64,
    /// Events committed.
    pub written: u64,
    /// Events that were in the ledger already.
    pub duplicates: u64,
    /// Events lost, by reason; reasons without a loss are left out.
    pub losses: Vec<(&'static str, u64)>,
}

/// What callers and the writer's thread share.
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    pub(crate) errands: Mutex<Vec<Errand>>,
    pub(crate) stop_by: Mutex<Option<Instant>>,
    pub(crate) written: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    /// The writer's end of the queue, once its thread has ended: what slipped in behind it is counted from here.
    pub(crate) leftover: Mutex<Option<Receiver<Message>>>,
}

/// Told, once everything handed over before it is committed, whether that worked.
pub(crate) type Errand = Box<dyn FnOnce(bool) + Send>;

/// The running writer. Dropping it flushes, for at most [`WriterOptions::deadline`].
pub struct Writer {
    shared: Arc<Shared>,
    ledger: Ledger,
    thread: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
    deadline: Duration,
    process: String,
}

impl Writer {
    /// Starts the thread.
    ///
    /// A place that cannot be written falls back to memory, with one warning: the user's calls go on.
    ///
    /// # Errors
    /// [`Error::is_ledger`] if the file is not a payi ledger, or was written by a newer payi.
    pub fn start(options: &WriterOptions) -> Result<Self> {
        let ledger = open(options)?;
        let (queue, receiver) = Queue::new(options.capacity);
        let shared = Arc::new(Shared {
            queue,
            errands: Mutex::default(),
            stop_by: Mutex::default(),
            written: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            leftover: Mutex::default(),
        });
        let keep = Keep { exchanges: options.keep_exchanges, prompts: true };
        let process = format!("process:{}", Uuid::now_v7());
        let drain =
            Drain::new(shared.clone(), receiver, ledger.another()?, keep, process.clone()).telling(options);
        let thread = thread::Builder::new()
            .name("payi-writer".into())
            .spawn(move || drain.run())
            .map_err(|e| Error::with_source(Kind::Config, "the ledger's thread could not be started", e))?;
        shared.queue.belongs_to(thread.thread().clone());
        let keeper =
            Keeper { shared: shared.clone(), ledger: ledger.another()?, keep_prompts: options.keep_prompts };
        let keeper = thread::Builder::new()
            .name("payi-keeper".into())
            .spawn(move || keeper.run())
            .map_err(|e| Error::with_source(Kind::Config, "the ledger's thread could not be started", e))?;
        Ok(Self {
            shared,
            ledger,
            thread: Some(thread),
            keeper: Some(keeper),
            deadline: options.deadline,
            process,
        })
    }

    /// The name of this process among those that write the ledger.
    pub(crate) fn process(&self) -> &str {
        &self.process
    }

    /// Where calls hand their events over.
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::<Shared>::clone(&self.shared)
    }

    /// The ledger that is written, for reports and deliverers.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Calls `then` on the writer's thread once everything handed over so far is committed, or has turned
    /// out not to be writable (`false`).
    pub fn flush_with(&self, then: impl FnOnce(bool) + Send + 'static) {
        self.shared.errands.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(then));
        self.shared.queue.wake();
    }

    /// Waits until everything handed over so far is committed.
    ///
    /// # Errors
    /// [`Error::is_timeout`] after `deadline`; [`Error::is_ledger`] if it could not be written.
    pub fn flush(&self, deadline: Duration) -> Result<()> {
        let (done, wait) = mpsc::channel();
        self.flush_with(move |written| {
            let _ = done.send(written);
        });
        match wait.recv_timeout(deadline) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(
                Kind::Ledger,
                "the ledger could not be written; its events are kept and tried again",
            )),
            Err(_) => Err(Error::new(
                Kind::Timeout,
                "the ledger was not written before the deadline; give it longer",
            )),
        }
    }

    /// Writes what is left, for at most `deadline`, and ends the thread. Later events are counted as lost.
    ///
    /// # Errors
    /// [`Error::is_timeout`] if something was left unwritten.
    pub fn shutdown(mut self, deadline: Duration) -> Result<()> {
        self.stop(deadline)
    }

    /// What has become of the events so far.
    pub fn metrics(&self) -> WriterMetrics {
        self.shared.metrics()
    }

    /// Its counts, to be asked for also after its end.
    pub(crate) fn counts(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    fn stop(&mut self, deadline: Duration) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let until = crate::events::deadline(deadline);
        let (done, wait) = mpsc::channel();
        self.flush_with(move |written| {
            let _ = done.send(written);
        });
        self.shared.queue.close();
        *self.shared.stop_by.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        self.shared.queue.wake();
        let written = wait.recv_timeout(deadline).unwrap_or(false);
        let keeper = self.keeper.take();
        if let Some(keeper) = &keeper {
            keeper.thread().unpark();
        }
        for thread in [Some(thread), keeper].into_iter().flatten() {
            end(thread, until);
        }
        if written {
            return Ok(());
        }
        Err(Error::new(Kind::Timeout, "some events were not written before the deadline of the shutdown"))
    }
}

/// Joins a thread, if it ends in time: one that hangs in the file system would hang the caller with it.
fn end(thread: JoinHandle<()>, until: Instant) {
    while !thread.is_finished() && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
    if thread.is_finished() {
        let _ = thread.join();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.stop(self.deadline);
    }
}

/// What a pipeline holds: it keeps the queue alive, not the thread.
impl Sink for Shared {
    fn open(&self, opening: crate::events::Opening) {
        self.queue.open(opening);
    }

    fn open_unread(&self, attempt: crate::events::UnderWay) {
        self.queue.open_unread(attempt);
    }

    fn record(&self, event: crate::events::Event) {
        self.queue.record(event);
    }

    fn record_unread(&self, answer: crate::events::Unread) {
        self.queue.record_unread(answer);
    }
}

impl Shared {
    /// What has become of the events so far.
    pub(crate) fn metrics(&self) -> WriterMetrics {
        if let Some(leftover) = &*self.leftover.lock().unwrap_or_else(PoisonError::into_inner) {
            let events = leftover.try_iter().filter(Message::is_end).count();
            self.queue.losses.add(LossReason::Unwritten, events as u64);
        }
        WriterMetrics {
            recorded: self.queue.recorded(),
            written: self.written.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            losses: LossReason::ALL
                .into_iter()
                .map(|reason| (reason.name(), self.queue.losses.get(reason)))
                .filter(|&(_, count)| count > 0)
                .collect(),
        }
    }

    pub(crate) fn take_errands(&self) -> Vec<Errand> {
        mem::take(&mut *self.errands.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn stopping(&self) -> Option<Instant> {
        *self.stop_by.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the place, or memory with one warning.
///
/// A file that others are setting up at this moment is no reason to give up: it is asked for again.
fn open(options: &WriterOptions) -> Result<Ledger> {
    const AGAIN: Duration = Duration::from_millis(10);
    let Some(path) = &options.path else { return Ledger::in_memory() };
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        match Ledger::open_with(path, options.durability) {
            Err(e) if e.is_foreign_ledger() => return Err(e),
            Err(e) if is_busy(&e) && Instant::now() < until => thread::sleep(AGAIN),
            Err(e) => {
                crate::error::say!(warn, error = %e, "the ledger cannot be written; events are kept in memory and are gone with this process");
                return Ledger::in_memory();
            }
            ledger => return ledger,
        }
    }
}

/// Whether somebody else's lock is all that was in the way.
fn is_busy(error: &Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    let source = std::error::Error::source(error).and_then(|e| e.downcast_ref::<rusqlite::Error>());
    source
        .and_then(rusqlite::Error::sqlite_error_code)
        .is_some_and(|code| matches!(code, DatabaseBusy | DatabaseLocked))
}
