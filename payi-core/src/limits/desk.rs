//! Where calls that have to wait leave their wishes, and find their answers.
//!
//! A thread of ours sees to it that each is answered in a bounded time, whatever hangs.

use std::{
    sync::{Arc, PoisonError, Weak},
    task::{Context as Task, Poll, Waker},
    time::Duration,
};

use crate::limits::{
    Counter, Hold, Kind, Rule, Rules,
    gate::Refused,
    slice::Slice,
    sync::{Condvar, Instant, Mutex, MutexGuard, atomic::Ordering::Relaxed},
};

/// A call waits for the store, and for what others give back, no longer than this.
const PATIENCE: Duration = Duration::from_millis(500);
/// The watch looks this often while nobody waits,
const IDLE: Duration = Duration::from_secs(3600);
/// and at the end: whoever is answered then does not tell it.
const ENDING: Duration = Duration::from_millis(2);

/// What a call needs of one limit.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) rule: Arc<Rule>,
    pub(crate) counter: Counter,
    pub(crate) slot: i64,
    /// `None`: nothing is reserved, the limit only counts.
    pub(crate) amount: Option<i128>,
}

/// Where calls leave their wishes.
#[derive(Default)]
pub(crate) struct Desk {
    todo: Mutex<Todo>,
    pub(crate) bell: Condvar,
    watch: Condvar,
}

#[derive(Default)]
pub(crate) struct Todo {
    pub(crate) requests: Vec<Request>,
    pub(crate) tickets: Vec<(Instant, Weak<Ticket>)>,
    pub(crate) looks: Vec<(Counter, i64)>,
    pub(crate) returns: Vec<Arc<Slice>>,
    /// Limits whose counters began anew: what was given of the old ones is nobody's.
    pub(crate) lost: Vec<Arc<str>>,
    pub(crate) stop: bool,
}

impl Todo {
    /// What there is to do; whoever waits to be answered in time stays.
    pub(crate) fn take(&mut self) -> Self {
        let stop = self.stop;
        let tickets = std::mem::take(&mut self.tickets);
        let taken = std::mem::replace(self, Self { tickets, stop, ..Self::default() });
        Self { stop, ..taken }
    }

    /// Those who wait, and whether they have waited long enough. Whoever waits no more, or has long enough, is off the
    /// list. To be dropped without the desk's lock: the last one to let go of a ticket gives back what it holds, and
    /// comes to the desk for that.
    pub(crate) fn look(&mut self, now: Instant) -> Vec<(Arc<Ticket>, bool)> {
        let mut seen = Vec::new();
        self.tickets.retain(|(at, ticket)| {
            let Some(ticket) = ticket.upgrade() else { return false };
            let (open, late) = (ticket.is_open(), *at <= now);
            seen.push((ticket, open && late));
            open && !late
        });
        seen
    }
}

/// A call that waits.
pub(crate) struct Request {
    pub(crate) wanted: Vec<Wanted>,
    /// What was collected so far for each part.
    pub(crate) have: Vec<i128>,
    /// The number under which others were asked for each part.
    pub(crate) recalled: Vec<Option<u64>>,
    pub(crate) at_us: i64,
    pub(crate) until: Instant,
    pub(crate) ticket: Arc<Ticket>,
}

impl Request {
    /// By the limits in force: one that is gone, or was made anew since, counts nothing that began before it, and what
    /// was collected of it is nobody's; one that only counts by now reserves nothing, and what was collected of it is
    /// to be given back.
    pub(crate) fn measure(&mut self, rules: &Rules) -> Vec<(Counter, i128)> {
        let mut over = Vec::new();
        for part in (0..self.wanted.len()).rev() {
            let want = &mut self.wanted[part];
            let now = rules.get(&want.rule.id).filter(|rule| rule.created_us == want.rule.created_us);
            let Some(rule) = now else {
                self.wanted.remove(part);
                self.have.remove(part);
                self.recalled.remove(part);
                continue;
            };
            want.rule = Arc::clone(rule);
            if rule.limit.kind == Kind::Allow {
                want.amount = None;
                over.push((want.counter.clone(), std::mem::take(&mut self.have[part])));
            }
        }
        over
    }

    /// What it has collected of counters that others ask for, to be given back. What it has got in the order of its
    /// limits, without a gap, it keeps: else two calls that hold one of two limits each would hand them to and fro.
    pub(crate) fn let_go(&mut self, asked: &[Counter]) -> Vec<(Counter, i128)> {
        let parts = self.wanted.iter().zip(&mut self.have);
        let after = parts.skip_while(|(want, have)| want.amount.is_none_or(|amount| **have >= amount));
        after
            .filter(|(want, have)| **have > 0 && asked.contains(&want.counter))
            .map(|(want, have)| (want.counter.clone(), std::mem::take(have)))
            .collect()
    }
}

/// Where a waiting call and its answer meet.
#[derive(Default)]
pub(crate) struct Ticket(Mutex<Slot>);

#[derive(Default)]
struct Slot {
    answer: Option<Result<Hold, Box<Refused>>>,
    waker: Option<Waker>,
    /// What to say if nobody else does.
    late: Option<Late>,
    answered: bool,
}

type Late = Box<dyn FnOnce() -> Result<Hold, Box<Refused>> + Send>;

impl Ticket {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn poll(&self, task: &mut Task<'_>) -> Poll<Result<Hold, Box<Refused>>> {
        let mut slot = self.slot();
        if let Some(answer) = slot.answer.take() {
            return Poll::Ready(answer);
        }
        slot.waker = Some(task.waker().clone());
        Poll::Pending
    }

    fn is_open(&self) -> bool {
        !self.slot().answered
    }

    /// Whether somebody still waits for an answer, besides whoever is to give it.
    pub(crate) fn is_waited_for(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 && self.is_open()
    }

    /// The first answer counts, `true`; what a later one holds goes back.
    pub(crate) fn answer(&self, answer: Result<Hold, Box<Refused>>) -> bool {
        let mut slot = self.slot();
        if std::mem::replace(&mut slot.answered, true) {
            drop(slot);
            drop(answer);
            return false;
        }
        slot.answer = Some(answer);
        slot.late = None;
        let waker = slot.waker.take();
        drop(slot);
        waker.into_iter().for_each(Waker::wake);
        true
    }

    /// What to say if nobody has in time.
    pub(crate) fn else_say(&self, late: impl FnOnce() -> Result<Hold, Box<Refused>> + Send + 'static) {
        self.slot().late = Some(Box::new(late));
    }

    fn give_up(&self) {
        let late = self.slot().late.take();
        if let Some(late) = late {
            self.answer(late());
        }
    }
}

impl Desk {
    pub(crate) fn todo(&self) -> MutexGuard<'_, Todo> {
        self.todo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call has to wait. After the end nobody is left to ask the store: it is told at once.
    pub(crate) fn ask(&self, wanted: Vec<Wanted>, at_us: i64, ticket: &Arc<Ticket>) {
        let until = Instant::now() + PATIENCE;
        let parts = wanted.len();
        let mut todo = self.todo();
        if todo.stop {
            drop(todo);
            return ticket.give_up();
        }
        todo.tickets.push((until + PATIENCE, Arc::downgrade(ticket)));
        todo.requests.push(Request {
            wanted,
            have: vec![0; parts],
            recalled: vec![None; parts],
            at_us,
            until,
            ticket: Arc::clone(ticket),
        });
        drop(todo);
        self.bell.notify_one();
        self.watch.notify_one();
    }

    /// Asks how a counter stands, without hurry.
    pub(crate) fn look(&self, counter: &Counter, slot: i64) {
        self.todo().looks.push((counter.clone(), slot));
    }

    /// Something of the slice is to go to the store: what is over at once, what was used of a rate soon.
    pub(crate) fn return_soon(&self, slice: &Arc<Slice>) {
        if slice.noted.swap(true, Relaxed) {
            return;
        }
        self.todo().returns.push(Arc::clone(slice));
        if slice.is_due() {
            self.bell.notify_one();
        }
    }

    pub(crate) fn stop(&self) {
        self.todo().stop = true;
        self.bell.notify_all();
        self.watch.notify_all();
    }
}

/// Answers calls that nobody else has, also after the end.
pub(crate) fn watch(desk: &Desk) {
    loop {
        let seen = desk.todo().look(Instant::now());
        for (ticket, late) in seen {
            if late {
                ticket.give_up();
            }
        }
        let todo = desk.todo();
        if todo.stop && todo.tickets.is_empty() {
            return;
        }
        let next = todo.tickets.iter().map(|(at, _)| *at).min();
        let nap = next.map_or(IDLE, |at| at.saturating_duration_since(Instant::now()));
        let nap = if todo.stop { nap.min(ENDING) } else { nap };
        drop(desk.watch.wait_timeout(todo, nap).unwrap_or_else(PoisonError::into_inner));
    }
}
