//! The writer's thread: gather a batch, commit it, nap.

use std::{
    collections::{HashMap, HashSet},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed, mpsc::Receiver},
    thread,
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::{
    context::Resolved,
    error::Result,
    events::{Event, Opening, UnderWay},
    ledger::{Appended, Appender, Keep, Ledger, count_losses},
    limits::OnLimit,
    sink::{
        losses::LossReason,
        queue::Message,
        writer::{Errand, Shared, WriterOptions},
    },
};

/// A commit takes at most this many events.
const BATCH: usize = 512;
/// A batch is full with this many messages: events, and the beginnings of calls.
const MESSAGES: usize = 2 * BATCH;
/// A commit waits at most this long for more.
const GATHER: Duration = Duration::from_millis(10);
/// A writer without work looks up this often, in case it missed being woken.
const NAP: Duration = Duration::from_millis(100);
/// How many events are kept while the ledger cannot be written, beside those in the queue.
const PENDING: usize = 16_384;
/// The lease that says this process lives is renewed this often, and lasts [`LIFE`].
const RENEW: Duration = Duration::from_secs(2);
const LIFE: Duration = Duration::from_secs(10);
/// Calls of processes that died are looked for this often.
const RECOVER: Duration = Duration::from_secs(5);
/// Waits after a failed commit, from the first to the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What the thread works with.
pub(crate) struct Drain {
    shared: Arc<Shared>,
    receiver: Receiver<Message>,
    ledger: Ledger,
    keep: Keep,
    after_commit: Option<Arc<dyn Fn() + Send + Sync>>,
    on_limit: Option<Arc<OnLimit>>,
    appender: Appender,
    /// The name of this process among those that write the ledger.
    process: String,
    events: Vec<(Box<Event>, Resolved)>,
    openings: Vec<(Opening, Resolved)>,
    /// Attempts that had begun when they were handed over; most have ended when it comes to writing.
    under_way: Vec<UnderWay>,
    /// Losses already in the file.
    told: [u64; LossReason::ALL.len()],
    renewed: Option<Instant>,
    recovered: Option<Instant>,
    failing: Option<Failing>,
}

/// A ledger that cannot be written.
struct Failing {
    wait: Duration,
    next: Instant,
}

impl Drain {
    pub(crate) fn new(
        shared: Arc<Shared>,
        receiver: Receiver<Message>,
        ledger: Ledger,
        keep: Keep,
        process: String,
    ) -> Self {
        Self {
            shared,
            receiver,
            ledger,
            keep,
            after_commit: None,
            on_limit: None,
            appender: Appender::default(),
            process,
            events: Vec::with_capacity(BATCH),
            openings: Vec::new(),
            under_way: Vec::new(),
            told: Default::default(),
            renewed: None,
            recovered: None,
            failing: None,
        }
    }

    /// Whom to tell what.
    pub(crate) fn telling(self, options: &WriterOptions) -> Self {
        Self { after_commit: options.after_commit.clone(), on_limit: options.on_limit.clone(), ..self }
    }

    /// Until the writer is stopped. A panic in here is a defect of ours; it ends a batch, not the thread.
    pub(crate) fn run(mut self) {
        let mut panics = 0;
        while let Err(_panic) = catch_unwind(AssertUnwindSafe(|| self.work())) {
            panics += 1;
            let lost = self.events.len() as u64;
            self.events.clear();
            self.openings.clear();
            self.under_way.clear();
            self.appender = Appender::default();
            self.shared.queue.losses.add(LossReason::Defect, lost);
            if panics > 100 {
                break;
            }
        }
        self.shared.queue.close();
        *self.shared.leftover.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.receiver);
    }

    fn work(&mut self) {
        loop {
            self.tidy();
            let errands = self.shared.take_errands();
            let stopping = self.shared.stopping();
            if errands.is_empty() && stopping.is_none() {
                self.gather();
                let idle = self.done();
                self.commit(false);
                if idle {
                    self.rest();
                }
                continue;
            }
            let written = self.catch_up();
            answer(errands, written);
            if stopping.is_some_and(|until| written || Instant::now() >= until) {
                return self.finish();
            }
        }
    }

    /// Writes everything that was handed over before, and as much of what comes meanwhile as there is room for in
    /// the queue; whether it could be written.
    fn catch_up(&mut self) -> bool {
        let mut ahead = self.shared.queue.capacity();
        loop {
            let room = PENDING.saturating_sub(self.held()).min(ahead);
            let taken =
                (0..room).map_while(|_| self.receiver.try_recv().ok().map(|it| self.take(it))).count();
            if !self.commit(true) {
                return false;
            }
            ahead -= taken;
            if ahead == 0 || (taken == 0 && room > 0) {
                return true;
            }
        }
    }

    fn held(&self) -> usize {
        self.events.len() + self.openings.len() + self.under_way.len()
    }

    fn done(&self) -> bool {
        self.held() == 0
    }

    /// Takes what is there, until a batch is full, and waits a little for more.
    fn gather(&mut self) {
        let mut until = None;
        while self.events.len() < BATCH && self.held() < MESSAGES {
            if let Ok(message) = self.receiver.try_recv() {
                self.take(message);
                until.get_or_insert_with(|| Instant::now() + GATHER);
                continue;
            }
            let Some(left) = until.and_then(|until: Instant| until.checked_duration_since(Instant::now()))
            else {
                break;
            };
            thread::park_timeout(left);
            if self.shared.stopping().is_some() || self.has_errands() {
                break;
            }
        }
    }

    fn has_errands(&self) -> bool {
        !self.shared.errands.lock().is_ok_and(|errands| errands.is_empty())
    }

    fn gathered(&mut self, event: Box<Event>) {
        let who = event.context.resolve();
        self.events.push((event, who));
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.gathered(event),
            Message::Unread(answer) => {
                if let Some(event) = self.shared.queue.read(answer) {
                    self.gathered(Box::new(event));
                }
            }
            Message::Opening(opening) => self.opened(*opening),
            Message::UnderWay(attempt) => self.under_way.push(attempt),
        }
    }

    fn opened(&mut self, opening: Opening) {
        let who = opening.context.resolve();
        self.openings.push((opening, who));
    }

    /// Notes of which attempts the beginning has to be written, because they have not ended.
    fn open(&mut self) {
        for attempt in mem::take(&mut self.under_way) {
            if let Some(opening) = attempt.read() {
                self.opened(opening);
            }
        }
        if self.openings.is_empty() {
            return;
        }
        let ended: HashSet<Uuid> = self.events.iter().map(|(event, _)| event.id).collect();
        self.openings.retain(|(opening, _)| !ended.contains(&opening.id));
    }

    /// Writes all that was gathered; `true` if nothing is left. After a failure it waits for its time to try
    /// again, unless it is `urgent`.
    fn commit(&mut self, urgent: bool) -> bool {
        if let Some(failing) =
            self.failing.as_ref().filter(|failing| !urgent && Instant::now() < failing.next)
        {
            thread::park_timeout(failing.next.saturating_duration_since(Instant::now()).min(NAP));
            return false;
        }
        self.open();
        let counted = self.shared.queue.losses.all();
        let losses = self.new_losses(counted);
        if self.done() && losses.is_empty() {
            return true;
        }
        match self.write(&losses) {
            Ok(()) => {
                self.told = counted;
                if self.failing.take().is_some() {
                    crate::error::say!(info, "the ledger can be written again");
                }
                if let Some(tell) = &self.after_commit {
                    tell();
                }
                true
            }
            Err(error) => {
                self.failed(&error, urgent);
                false
            }
        }
    }

    /// One transaction per batch keeps each of them short, also when much has piled up; what has been written is
    /// let go of at once.
    fn write(&mut self, losses: &HashMap<&str, u64>) -> Result<()> {
        let alive = !self.openings.is_empty() && self.renewed.is_none_or(|at| at.elapsed() > RENEW);
        if alive {
            self.ledger.lease(&self.process, &self.process, LIFE)?;
            self.renewed = Some(Instant::now());
        }
        while !(self.events.is_empty() && self.openings.is_empty()) {
            let size = self.events.len().min(BATCH);
            let Self { ledger, appender, events, openings, process, keep, .. } = self;
            let batch = events[..size].iter().map(|(event, who)| (&**event, who));
            let done = ledger.with(|conn| appender.append(conn, batch, openings, process, *keep))?;
            self.events.drain(..size);
            self.openings.clear();
            self.count(done);
            self.tell_limits();
        }
        if losses.is_empty() {
            return Ok(());
        }
        self.ledger.with(|conn| count_losses(conn, losses))
    }

    /// Counters that came to another state: logged, and told to whoever asked for it.
    fn tell_limits(&mut self) {
        for crossing in mem::take(&mut self.appender.limits.crossings) {
            crossing.tell();
            if let Some(tell) = &self.on_limit {
                // A panic in there is its maker's, and ends with it.
                let _ = catch_unwind(AssertUnwindSafe(|| tell(&crossing)));
            }
        }
    }

    fn count(&self, done: Appended) {
        if done.too_late > 0 {
            self.shared.queue.losses.add(LossReason::TooLate, done.too_late);
        }
        self.shared.written.fetch_add(done.facts, Relaxed);
        self.shared.duplicates.fetch_add(done.duplicates, Relaxed);
    }

    fn failed(&mut self, error: &crate::Error, urgent: bool) {
        let wait = match &self.failing {
            None => {
                crate::error::say!(warn, %error, "the ledger cannot be written now; events are kept and tried again");
                RETRY.0
            }
            Some(failing) => (failing.wait * 2).min(RETRY.1),
        };
        self.failing = Some(Failing { wait, next: Instant::now() + wait });
        if urgent {
            thread::park_timeout(RETRY.0);
        }
    }

    /// What was lost since the file was last told.
    fn new_losses(&self, now: [u64; LossReason::ALL.len()]) -> HashMap<&'static str, u64> {
        LossReason::ALL
            .into_iter()
            .zip(now.into_iter().zip(self.told))
            .filter(|(_, (now, told))| now > told)
            .map(|(reason, (now, told))| (reason.name(), now - told))
            .collect()
    }

    /// Nothing to do: naps until there is.
    fn rest(&mut self) {
        self.shared.queue.set_asleep(true);
        thread::park_timeout(NAP);
        self.shared.queue.set_asleep(false);
    }

    /// What must happen now and then: saying that this process lives, and settling for those that do not.
    fn tidy(&mut self) {
        let due = |last: Option<Instant>, every| last.is_none_or(|at| at.elapsed() > every);
        if self.renewed.is_some() && due(self.renewed, RENEW) {
            self.renewed = Some(Instant::now());
            let _ = self.ledger.lease(&self.process, &self.process, LIFE);
        }
        if due(self.recovered, RECOVER) {
            self.recovered = Some(Instant::now());
            match self.ledger.recover(&mut self.appender, &self.process) {
                Ok(0) | Err(_) => {}
                Ok(calls) => {
                    crate::error::say!(info, calls, "calls whose process had died were settled as abandoned");
                }
            }
        }
    }

    /// The end: what could not be written is counted, in the file too if that can be written after all.
    fn finish(&mut self) {
        let waiting = self.receiver.try_iter().filter(Message::is_end).count();
        let left = (self.events.len() + waiting) as u64;
        if left > 0 {
            self.shared.queue.losses.add(LossReason::Unwritten, left);
            crate::error::say!(
                warn,
                events = left,
                "the ledger could not be written before the deadline of the shutdown"
            );
        }
        let losses = self.new_losses(self.shared.queue.losses.all());
        if !losses.is_empty() {
            let _ = self.ledger.with(|conn| count_losses(conn, &losses));
        }
        if self.renewed.is_some() {
            // What is open now is abandoned: nobody will write its end.
            let _ = self.ledger.lease(&self.process, &self.process, Duration::ZERO);
        }
        // Whoever copies the file alone shall have all of it. What somebody is reading stays in the log.
        let _ = self.ledger.with(|conn| conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
        answer(self.shared.take_errands(), left == 0);
    }
}

/// A panic in an errand is its maker's, and ends with it.
fn answer(errands: Vec<Errand>, written: bool) {
    for errand in errands {
        let _ = catch_unwind(AssertUnwindSafe(|| errand(written)));
    }
}
