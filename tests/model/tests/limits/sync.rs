//! Stands for `payi_core::limits`'s `sync`: locks, threads and clocks of which a scheduler decides.
//!
//! A wait with a time-out may end at any moment. Time stands still, unless a test lets it pass.

use std::{
    fmt,
    ops::{Add, Deref, DerefMut},
    sync::{
        LockResult, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

pub use shuttle::sync::atomic;

#[derive(Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let held = self.0.lock().unwrap_or_else(|poisoned| {
            crate::wrong("a thread panicked at its work".into());
            poisoned.into_inner()
        });
        Ok(MutexGuard { of: self, held })
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex")
    }
}

pub struct MutexGuard<'a, T> {
    of: &'a Mutex<T>,
    held: shuttle::sync::MutexGuard<'a, T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.held
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held
    }
}

/// Whoever waits for it looks again whenever he is scheduled.
#[derive(Default)]
pub struct Condvar;

impl Condvar {
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        _: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, ())> {
        let lock = guard.of;
        drop(guard);
        shuttle::thread::yield_now();
        Ok((lock.lock().unwrap_or_else(PoisonError::into_inner), ()))
    }

    pub fn notify_one(&self) {
        shuttle::thread::sleep(Duration::ZERO);
    }

    pub fn notify_all(&self) {
        self.notify_one();
    }
}

static MICROS: AtomicU64 = AtomicU64::new(0);

/// Each schedule begins at the same moment.
pub fn begin() {
    MICROS.store(0, Relaxed);
}

/// Lets time pass.
pub fn pass(time: Duration) {
    MICROS.fetch_add(u64::try_from(time.as_micros()).unwrap(), Relaxed);
    shuttle::thread::yield_now();
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Self {
        Self(Duration::from_micros(MICROS.load(Relaxed)))
    }

    pub fn elapsed(&self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }

    pub fn saturating_duration_since(&self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}

/// The machine's clock.
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Instant::now().0
}

pub mod thread {
    use std::{
        io,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering::Relaxed},
        },
        time::Duration,
    };

    pub use shuttle::thread::{Thread, current, park, yield_now};

    /// Others run in the meantime, however urgent this thread is.
    pub fn sleep(_: Duration) {
        yield_now();
    }

    #[derive(Default)]
    pub struct Builder(shuttle::thread::Builder);

    impl Builder {
        pub fn new() -> Self {
            Self::default()
        }

        pub fn name(self, name: String) -> Self {
            Self(self.0.name(name))
        }

        pub fn spawn<T: Send + 'static>(
            self,
            work: impl FnOnce() -> T + Send + 'static,
        ) -> io::Result<JoinHandle<T>> {
            let finished = Arc::new(AtomicBool::new(false));
            let at_end = Arc::clone(&finished);
            let thread = self.0.spawn(move || {
                let done = work();
                at_end.store(true, Relaxed);
                done
            })?;
            Ok(JoinHandle { thread, finished })
        }
    }

    pub struct JoinHandle<T> {
        thread: shuttle::thread::JoinHandle<T>,
        finished: Arc<AtomicBool>,
    }

    impl<T> JoinHandle<T> {
        pub fn is_finished(&self) -> bool {
            self.finished.load(Relaxed)
        }

        pub fn join(self) -> std::thread::Result<T> {
            self.thread.join()
        }
    }
}
