//! Records the calls of one test, and of no other.
//!
//! The recorder hangs on the root of a context of its own, so it sees the calls made inside its
//! scope and no others; tests that run beside each other need not know of each other, and nothing
//! of `payi::instrument()` is needed or disturbed.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

use crate::{
    context::{Context, Entered, Frame, Key, Scoped},
    error::Result,
    events::{Background, Clock, Event, Opening, Pipeline, Settings, Sink, SystemClock},
    limits::{Gate, Limit, Limits, MemorySink, MemoryStore, Store},
    sink::Fan,
};

/// Records the events of the calls inside its scope.
///
/// ```
/// # use payi_core as payi;
/// # fn block_on<F: std::future::Future>(_: F) {}
/// # block_on(async {
/// let recorder = payi::testing::Recorder::new();
/// let answer = recorder.scope(async { 6 * 7 }).await; // call what you want to test
/// assert_eq!(answer, 42);
/// assert_eq!(recorder.events().len(), 0); // it called no provider
/// # });
/// ```
#[derive(Clone)]
pub struct Recorder {
    events: Arc<Events>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    limited: Option<Limited>,
    background: Arc<Background>,
}

/// Limits of this test alone, in memory.
#[derive(Clone)]
struct Limited {
    gate: Arc<Gate>,
    store: Arc<MemoryStore>,
}

/// The process that a test's limits are held by.
const PROCESS: &str = "test";

impl Default for Recorder {
    fn default() -> Self {
        Self {
            events: Arc::default(),
            clock: Arc::new(SystemClock),
            settings: Settings::default(),
            limited: None,
            background: Arc::default(),
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("events", &self.events().len()).finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes times and ids from `clock`, so that a test knows them in advance; see [`TestClock`].
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Treats calls as these settings say.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Calls without a value for one of `keys` are refused, with an error that says where they were made
    /// ([`Error::is_unattributed`](crate::Error::is_unattributed)), and never sent.
    ///
    /// Not needed where the test has set up the program itself, with a `payi::instrument()` that requires keys:
    /// then those are required here.
    pub fn require(mut self, keys: impl IntoIterator<Item = Key>) -> Self {
        self.settings.require = keys.into_iter().collect();
        self.settings.refuse_unattributed = true;
        self
    }

    /// Calls are measured by this limit, too, whose counters live in memory and belong to this test.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`](crate::Error::is_config) if the limit cannot be kept.
    pub fn limit(mut self, limit: Limit) -> Result<Self> {
        let limited = if let Some(limited) = self.limited {
            limited
        } else {
            let store = Arc::new(MemoryStore::new());
            let gate = Gate::start(Arc::clone(&store) as Arc<dyn Store>, PROCESS.into())?;
            Limited { gate: Arc::new(gate), store }
        };
        Limits::of_gate(&limited.gate).update(limit)?;
        self.limited = Some(limited);
        Ok(self)
    }

    /// The limits given with [`limit`](Self::limit), to be read and changed.
    pub fn limits(&self) -> Option<Limits> {
        self.limited.as_ref().map(|limited| Limits::of_gate(&limited.gate))
    }

    /// Runs `future`; the calls it makes are recorded here, and nowhere else.
    ///
    /// Scopes around it are not seen inside. What it spawns must carry the context
    /// (`payi::spawn`), as everywhere.
    pub fn scope<F: Future>(&self, future: F) -> Scoped<F> {
        Scoped::new(Some(self.root()), future)
    }

    /// Runs `f`, likewise, for code that is not async.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        let _inside = Entered::new(Some(self.root()));
        f()
    }

    /// What has been recorded so far, in the order in which calls ended.
    pub fn events(&self) -> Vec<Event> {
        self.events.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What has been recorded so far; the recorder forgets it.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many calls have begun and not ended: 0 at the end of every test.
    pub fn open_calls(&self) -> usize {
        self.events.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn root(&self) -> Arc<Frame> {
        let sink: Arc<dyn Sink> = Arc::<Events>::clone(&self.events);
        let charges =
            self.limited.as_ref().map(|limited| MemorySink::new(Arc::clone(&limited.store), PROCESS));
        let charges = charges.map(|charges| Arc::new(charges) as Arc<dyn Sink>);
        let mut pipeline = Pipeline::new(Arc::new(Fan::new(std::iter::once(sink).chain(charges))));
        pipeline.gate = self.limited.as_ref().map(|limited| Arc::clone(&limited.gate) as Arc<_>);
        pipeline.background = Arc::clone(&self.background);
        pipeline.clock = Arc::clone(&self.clock);
        pipeline.settings = self.settings.clone();
        if pipeline.settings.require.is_empty()
            && let Some(running) = Context::default().root::<Pipeline>()
        {
            pipeline.settings.require = running.settings.require;
            pipeline.settings.refuse_unattributed = true;
        }
        Frame::root(Some(Arc::new(pipeline)), Vec::new())
    }
}

#[derive(Default)]
struct Events {
    open: Mutex<Vec<Uuid>>,
    ended: Mutex<Vec<Event>>,
}

impl Sink for Events {
    fn open(&self, opening: Opening) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(opening.id);
    }

    fn record(&self, event: Event) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|id| *id != event.id);
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

/// A clock that a test sets, and ids (UUIDv7) that are the same in each run.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use payi_core::{events::Clock, testing::TestClock};
///
/// let clock = TestClock::at(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
/// assert_eq!(clock.id(clock.now()).to_string(), "018bcfe5-6800-7000-8000-000000000001");
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), UNIX_EPOCH + Duration::from_secs(1_700_000_060));
/// ```
#[derive(Clone, Debug)]
pub struct TestClock {
    now: Arc<Mutex<SystemTime>>,
    last_id: Arc<AtomicU64>,
}

impl TestClock {
    /// Stands still at `now`.
    pub fn at(now: SystemTime) -> Self {
        Self { now: Arc::new(Mutex::new(now)), last_id: Arc::default() }
    }

    /// Sets it, forward or back.
    pub fn set(&self, now: SystemTime) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self, at: SystemTime) -> Uuid {
        let since_1970 = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let n = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let mut counter = [0; 10];
        counter[2..].copy_from_slice(&n.to_be_bytes());
        let millis = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        uuid::Builder::from_unix_timestamp_millis(millis, &counter).into_uuid()
    }
}
