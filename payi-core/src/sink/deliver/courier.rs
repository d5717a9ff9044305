//! The thread that carries events to one place.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    Error, Result,
    error::Kind,
    sink::deliver::{
        Backoff, Fate, Next, Pending, Place, Report, Source,
        window::{SERVER_ERROR, Window},
    },
};

/// How often the source is looked at when nothing happens.
const GLANCE: Duration = Duration::from_millis(200);

/// How long to wait where only a person can help.
const PAUSE: Duration = Duration::from_secs(60);

/// What a courier has done since its start.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Events placed.
    pub(crate) placed: AtomicU64,
    /// Events set aside.
    pub(crate) refused: AtomicU64,
    /// Batches that failed.
    pub(crate) failures: AtomicU64,
    /// Events that waited at the last look.
    pub(crate) lag: AtomicU64,
    /// What is wrong.
    pub(crate) trouble: Mutex<Option<&'static str>>,
}

impl Stats {
    fn set_trouble(&self, why: Option<&'static str>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

/// A handle to the thread that carries events to one place.
pub(crate) struct Courier {
    place: &'static str,
    shared: Arc<Shared>,
}

struct Shared {
    orders: Mutex<Orders>,
    changed: Condvar,
    stats: Stats,
}

#[derive(Debug, Default)]
struct Orders {
    stop: bool,
    ended: bool,
    /// Flushes asked for, and dealt with.
    asked: u64,
    served: u64,
    /// Whether the last flush found everything placed.
    caught_up: bool,
}

impl Courier {
    /// Starts carrying.
    pub(crate) fn start(source: impl Source + 'static, place: impl Place + 'static) -> Result<Self> {
        let shared =
            Arc::new(Shared { orders: Mutex::default(), changed: Condvar::new(), stats: Stats::default() });
        let round = Round {
            shared: Arc::clone(&shared),
            source: Box::new(source),
            place: Box::new(place),
            window: Window::default(),
            backoff: Backoff::default(),
            wait_until: None,
            complained: None,
        };
        let place = round.place.name();
        let name = format!("payi-{place}");
        let spawned = std::thread::Builder::new().name(name).spawn(move || round.run());
        spawned
            .map_err(|e| Error::with_source(Kind::Delivery, "no thread could be started for delivery", e))?;
        Ok(Self { place, shared })
    }

    /// The place it carries to.
    pub(crate) fn place(&self) -> &'static str {
        self.place
    }

    /// What it has done.
    pub(crate) fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Asks for everything that is in the source now to be placed; to be waited for with [`Self::wait`].
    pub(crate) fn ask(&self) -> u64 {
        let mut orders = self.shared.lock();
        orders.asked += 1;
        self.shared.changed.notify_all();
        orders.asked
    }

    /// Waits until what was asked for is done, an attempt to do so has failed, or `deadline`; whether it
    /// is done.
    pub(crate) fn wait(&self, asked: u64, deadline: Instant) -> bool {
        let mut orders = self.shared.lock();
        while orders.served < asked && !orders.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            orders = self.shared.wait(orders, left);
        }
        orders.served >= asked && orders.caught_up
    }

    /// Tells it to end after what it is doing, and waits for that until `deadline`.
    pub(crate) fn stop(&self, deadline: Instant) {
        let mut orders = self.shared.lock();
        orders.stop = true;
        self.shared.changed.notify_all();
        while !orders.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            orders = self.shared.wait(orders, left);
        }
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.stop(Instant::now());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, orders: MutexGuard<'g, Orders>, at_most: Duration) -> MutexGuard<'g, Orders> {
        self.changed.wait_timeout(orders, at_most).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What the thread owns.
struct Round {
    shared: Arc<Shared>,
    source: Box<dyn Source>,
    place: Box<dyn Place>,
    window: Window,
    backoff: Backoff,
    wait_until: Option<Instant>,
    /// What was last complained about: said once, until it works again.
    complained: Option<&'static str>,
}

/// How a round went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Went {
    /// Something was placed or set aside; there may be more.
    On,
    /// Nothing is left to place.
    Idle,
    /// Another process is at it.
    Elsewhere,
    /// The place, or the source, is in no state.
    Badly,
}

impl Round {
    fn run(mut self) {
        let mut flushing = 0;
        loop {
            let waiting = self.wait_until.is_some_and(|until| Instant::now() < until);
            // A flush is a reason to try although a wait is not over.
            let went = if waiting && flushing == 0 { Went::Badly } else { self.guarded() };
            let done = matches!(went, Went::Idle | Went::Badly);
            let mut orders = self.shared.lock();
            if flushing > 0 && done {
                orders.caught_up = went == Went::Idle;
                orders.served = flushing;
                self.shared.changed.notify_all();
            }
            if orders.stop {
                break;
            }
            if went != Went::On && orders.asked == orders.served {
                let until = self.wait_until.map(|until| until.saturating_duration_since(Instant::now()));
                orders = self.shared.wait(orders, until.unwrap_or(GLANCE).max(Duration::from_millis(1)));
            } else if went == Went::Elsewhere {
                orders = self.shared.wait(orders, GLANCE / 4);
            }
            flushing = if orders.asked > orders.served { orders.asked } else { 0 };
        }
        self.source.release();
        let shared = Arc::clone(&self.shared);
        // The place may have a last word to say.
        drop(self);
        shared.lock().ended = true;
        shared.changed.notify_all();
    }

    /// One round; a panic in it is a failure like another.
    fn guarded(&mut self) -> Went {
        match catch_unwind(AssertUnwindSafe(|| self.round())) {
            Ok(Ok(went)) => went,
            Ok(Err(error)) => {
                self.complain("ledger", Some(&error));
                self.wait_until = Some(Instant::now() + self.backoff.next(None));
                Went::Badly
            }
            Err(_) => {
                self.window.clear();
                self.complain("panic", None);
                self.wait_until = Some(Instant::now() + self.backoff.next(None));
                Went::Badly
            }
        }
    }

    fn round(&mut self) -> Result<Went> {
        let lag = self.source.newest()?.saturating_sub(self.source.cursor()?).max(0);
        self.shared.stats.lag.store(lag.unsigned_abs(), Relaxed);
        let again = self.source.again()?;
        if self.window.is_empty() && lag == 0 && again.is_empty() {
            return Ok(Went::Idle);
        }
        if !self.source.claim()? {
            // What was read is the other courier's now.
            self.window.clear();
            return Ok(Went::Elsewhere);
        }
        if !again.is_empty() {
            return self.try_again(&again);
        }
        self.fill()?;
        let picked = self.window.pick();
        if picked.is_empty() {
            return Ok(Went::Idle);
        }
        let batch = self.window.get(&picked);
        let Report { fates, next } = self.place.deliver(&batch, &*self.source);
        self.window.settle(&picked, fates);
        self.pass()?;
        Ok(self.heed(next, picked.len()))
    }

    /// Sends what was set aside once more, one by one: each of them was refused before.
    fn try_again(&mut self, again: &[Pending]) -> Result<Went> {
        for pending in again {
            let Report { fates, next } = self.place.deliver(&[pending], &*self.source);
            match fates.into_iter().next().unwrap_or(Fate::Later) {
                Fate::Placed => {
                    self.source.placed_again(pending.seq)?;
                    self.shared.stats.placed.fetch_add(1, Relaxed);
                }
                Fate::Refused(reason) => self.source.quarantine(pending.seq, &reason)?,
                Fate::Suspect => self.source.quarantine(pending.seq, SERVER_ERROR)?,
                Fate::Later => {}
            }
            let went = self.heed(next, 1);
            if went != Went::On {
                return Ok(went);
            }
        }
        Ok(Went::On)
    }

    /// Reads what there is room for.
    fn fill(&mut self) -> Result<()> {
        loop {
            let room = self.window.room();
            if room == 0 {
                return Ok(());
            }
            let after = match self.window.newest() {
                Some(newest) => newest,
                None => self.source.cursor()?,
            };
            let events = self.source.after(after, room)?;
            if events.is_empty() {
                return Ok(());
            }
            self.window.extend(events);
        }
    }

    /// Moves the cursor over what is dealt with.
    fn pass(&mut self) -> Result<()> {
        let Some(passed) = self.window.pass() else { return Ok(()) };
        for (pending, reason) in &passed.refused {
            crate::error::say!(warn, target: "payi", place = self.place.name(), event = %pending.event.id, reason = &**reason,
                "an event was refused and set aside; `payi delivery status` shows it"
            );
            self.source.quarantine(pending.seq, reason)?;
        }
        let refused = u64::try_from(passed.refused.len()).unwrap_or(u64::MAX);
        self.shared.stats.placed.fetch_add(passed.placed, Relaxed);
        self.shared.stats.refused.fetch_add(refused, Relaxed);
        if !self.source.advance(passed.seq)? {
            self.window.clear();
        }
        Ok(())
    }

    fn heed(&mut self, next: Next, sent: usize) -> Went {
        self.wait_until = None;
        match next {
            Next::Go => {
                self.shared.stats.set_trouble(None);
                if self.complained.take().is_some() {
                    crate::error::say!(info, target: "payi", place = self.place.name(), "delivery works again");
                }
                self.backoff.reset();
                Went::On
            }
            Next::Smaller => {
                self.window.shrink(sent);
                Went::On
            }
            Next::Wait(told) => {
                self.shared.stats.failures.fetch_add(1, Relaxed);
                self.wait_until = Some(Instant::now() + self.backoff.next(told));
                self.complain("unavailable", None);
                Went::Badly
            }
            Next::Pause(why) => {
                self.shared.stats.failures.fetch_add(1, Relaxed);
                self.wait_until = Some(Instant::now() + PAUSE);
                self.complain(why, None);
                Went::Badly
            }
        }
    }

    /// Says once what is wrong.
    fn complain(&mut self, why: &'static str, error: Option<&Error>) {
        self.shared.stats.set_trouble(Some(why));
        if self.complained.replace(why) == Some(why) {
            return;
        }
        let (place, error) = (self.place.name(), error.map(tracing::field::display));
        crate::error::say!(warn, target: "payi", place, why, error, "delivery does not work; events are kept for later");
    }
}
