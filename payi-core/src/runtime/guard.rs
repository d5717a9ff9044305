//! The one running instrumentation, and the guard that ends it.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context as Task, Poll, Waker},
    time::{Duration, Instant},
};

use crate::{
    Result,
    context::{self, Frame},
    error::{Error, Kind},
    events::{Pipeline, deadline},
    limits::Limits,
    runtime::{engines::Engines, metrics::Metrics},
};

/// How long the end of a process may wait for events to be written and sent.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// What is running in this process, if anything.
static RUNNING: Mutex<Weak<Running>> = Mutex::new(Weak::new());

/// The engines of what was started last: their counts are there also after the end.
static LATEST: Mutex<Option<Arc<Engines>>> = Mutex::new(None);

/// Everything that [`instrument`](crate::runtime::instrument) has started.
pub(super) struct Running {
    pipeline: Arc<Pipeline>,
    root: Arc<Frame>,
    engines: Arc<Engines>,
    stopped: AtomicBool,
}

impl Running {
    pub(super) fn new(pipeline: Arc<Pipeline>, root: Arc<Frame>, engines: Engines) -> Self {
        Self { pipeline, root, engines: Arc::new(engines), stopped: AtomicBool::new(false) }
    }

    fn flush(&self, deadline: Instant) -> bool {
        let (ours, others) = (self.engines.flush(deadline), self.pipeline.sink.flush(deadline));
        ours && others
    }

    /// Writes and sends what there is, then ends; the second call does nothing.
    fn stop(&self, deadline: Instant) -> bool {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return true;
        }
        // A root that somebody else has set since is theirs.
        if context::global().is_some_and(|global| Arc::ptr_eq(&global, &self.root)) {
            context::set_global(None);
        }
        self.pipeline.background.close();
        let flushed = self.flush(deadline);
        self.engines.stop(deadline);
        flushed
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop(Instant::now() + GRACE);
    }
}

/// Runs `build` unless something is running already.
pub(super) fn start_once(build: impl FnOnce() -> Result<Running>) -> Result<Guard> {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(already) = running.upgrade().filter(|r| !r.stopped.load(Ordering::Acquire)) {
        crate::error::say!(warn, target: "payi", "payi is already running in this process; the new settings are ignored");
        return Ok(Guard { running: already });
    }
    let started = Arc::new(build()?);
    context::set_global(Some(Arc::clone(&started.root)));
    *running = Arc::downgrade(&started);
    *LATEST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&started.engines));
    Ok(Guard { running: started })
}

/// What has become of events since the start, also after the end: what came too late to be recorded is among the
/// losses. `None` if payi was never started.
pub fn metrics() -> Option<Metrics> {
    let latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner).clone();
    latest.map(|engines| engines.metrics())
}

/// The limits of the running instrumentation: made, changed, read and reset here; `None` if payi is not
/// running.
pub fn limits() -> Option<Limits> {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
    running?.engines.gate().map(Limits::of_gate)
}

/// Keeps payi running; when the last one is dropped, what is recorded is written and sent, which
/// takes 5 seconds at the most.
///
/// Keep it until the end of `main`: `let guard = payi::instrument().start()?;` (with `let _ =` it
/// would be dropped at once).
#[must_use = "payi stops when the guard is dropped; keep it until the end of `main`"]
pub struct Guard {
    running: Arc<Running>,
}

impl Guard {
    /// Waits until everything recorded so far is written and sent, for `within` at the most.
    ///
    /// Needs no particular runtime, and blocks none.
    ///
    /// # Errors
    ///
    /// [`Error::is_timeout`] if `within` was not enough. Nothing is lost by that: what is in the
    /// ledger is sent later, by this process or the next.
    pub async fn flush(&self, within: Duration) -> Result<()> {
        let (running, until) = (Arc::clone(&self.running), deadline(within));
        let done = aside(move || running.flush(until)).await;
        finished(done, within)
    }

    /// What has become of events since the start, for metrics of your own.
    pub fn metrics(&self) -> Metrics {
        self.running.engines.metrics()
    }

    /// The ledger that calls are recorded in, for reports of your own; `None` after the end.
    ///
    /// Calls appear in it a moment after they have ended; [`flush`](Self::flush) first to see all.
    #[cfg(feature = "ledger")]
    pub fn ledger(&self) -> Option<crate::ledger::Ledger> {
        self.running.engines.ledger()
    }

    /// Ends payi: no more calls are recorded; what is recorded is written and sent, which takes
    /// 5 seconds at the most.
    ///
    /// Dropping the guard does the same, blocking the thread.
    ///
    /// # Errors
    ///
    /// [`Error::is_timeout`] if 5 seconds were not enough. Nothing is lost by that: what is in the
    /// ledger is sent by the next process that opens it.
    pub async fn shutdown(self) -> Result<()> {
        let (running, deadline) = (Arc::clone(&self.running), Instant::now() + GRACE);
        let done = aside(move || running.stop(deadline)).await;
        finished(done, GRACE)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("stopped", &self.running.stopped).finish_non_exhaustive()
    }
}

fn finished(done: bool, within: Duration) -> Result<()> {
    if done {
        return Ok(());
    }
    Err(Error::new(
        Kind::Timeout,
        format!("not everything was written and sent within {within:?}; the ledger keeps the rest for later"),
    ))
}

/// Runs `work` on a thread of its own, so that waiting for it blocks no runtime and needs none.
fn aside(work: impl FnOnce() -> bool + Send + 'static) -> impl Future<Output = bool> {
    let slot = Arc::new(Mutex::new(Slot { done: None, waker: None }));
    let work = Arc::new(Mutex::new(Some(work)));
    let run = {
        let (slot, work) = (Arc::clone(&slot), Arc::clone(&work));
        move || {
            let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
            let done = work.is_some_and(|work| catch_unwind(AssertUnwindSafe(work)).unwrap_or(false));
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            slot.done = Some(done);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    };
    let spawned = std::thread::Builder::new().name("payi-flush".into()).spawn(run.clone());
    if spawned.is_err() {
        // No thread to be had: better late here than lost.
        run();
    }
    Aside(slot)
}

struct Slot {
    done: Option<bool>,
    waker: Option<Waker>,
}

struct Aside(Arc<Mutex<Slot>>);

impl Future for Aside {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<bool> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(done) = slot.done else {
            slot.waker = Some(task.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(done)
    }
}
