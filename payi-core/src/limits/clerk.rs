//! The gate's thread: asks the store on behalf of calls, gives back what others need more, and says that
//! this process lives.

use std::{
    collections::HashSet,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context as Task, Poll, Wake, Waker},
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

use crate::{
    error::{Error, Kind, Result},
    limits::{
        Answer, Ask, Counter, Give, Hold, Rules, Standing,
        desk::{Request, Todo, Wanted, watch},
        gate::{Refused, Shared, marks, now_us, refusal},
        hold::Part,
        slice::Slice,
    },
};

/// While this process holds something, it looks this often whether others ask for it.
const HOLDING: Duration = Duration::from_millis(4);
/// While it holds nothing, it looks this often whether limits have changed.
const IDLE: Duration = Duration::from_millis(500);
/// While calls wait for others to give back.
const WAITING: Duration = Duration::from_millis(1);
/// A process says this often that it lives, and is given up when it has not for [`LIFE`].
const RENEW: Duration = Duration::from_secs(2);
pub(crate) const LIFE: Duration = Duration::from_secs(10);
/// Slices that no call has touched between two looks go back.
const SWEEP: Duration = Duration::from_millis(250);
/// How many calls like this one a slice is asked for.
const AHEAD: i128 = 64;

/// Takes the limits from the store, if they have changed.
pub(crate) fn learn(shared: &Shared) -> Result<()> {
    let known = shared.rules().version;
    if let Some(definitions) = block_on(shared.store.definitions(known))? {
        shared.set_rules(Rules::new(&definitions));
    }
    Ok(())
}

pub(crate) fn spawn(shared: &Arc<Shared>) -> Result<Vec<JoinHandle<()>>> {
    let failed = |e| Error::with_source(Kind::Config, "the limits' thread could not be started", e);
    let (worker, watcher) = (Arc::clone(shared), Arc::clone(shared));
    let clerk = thread::Builder::new()
        .name("payi-limits".into())
        .spawn(move || Clerk::new(worker).run())
        .map_err(failed)?;
    let watch = thread::Builder::new()
        .name("payi-limits-watch".into())
        .spawn(move || watch(&watcher.desk))
        .map_err(failed)?;
    Ok(vec![clerk, watch])
}

/// The thread's work.
struct Clerk {
    shared: Arc<Shared>,
    waiting: Vec<Request>,
    renewed: Option<Instant>,
    swept: Instant,
    turn: usize,
    holding: bool,
    told: bool,
}

impl Clerk {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            waiting: Vec::new(),
            renewed: None,
            swept: Instant::now(),
            turn: 0,
            holding: false,
            told: false,
        }
    }

    /// A panic in here is a defect of ours: it ends a turn, not the thread. Calls that waited are answered.
    fn run(mut self) {
        let mut panics = 0;
        loop {
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn()));
            match turn {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) if panics > 100 => return,
                Err(_) => panics += 1,
            }
        }
    }

    /// One turn; `false` when it was the last.
    fn turn(&mut self) -> bool {
        let Todo { requests, looks, returns, stop, .. } = self.gather();
        self.waiting.extend(requests);
        let changed = self.shared.store.changed();
        let done = self.alive(!self.waiting.is_empty()).and_then(|()| {
            if changed {
                learn(&self.shared)?;
            }
            self.give_back(returns, changed)?;
            self.serve()
        });
        if let Err(error) = done {
            self.failed(&error);
        } else {
            self.told = false;
        }
        self.look(looks);
        self.sweep();
        if stop {
            self.close();
        }
        !stop
    }

    fn gather(&mut self) -> Todo {
        let nap = match () {
            () if !self.waiting.is_empty() => WAITING,
            () if self.holding => HOLDING,
            () => IDLE,
        };
        let mut todo = self.shared.desk.todo();
        if todo.requests.is_empty() && !todo.stop && !todo.returns.iter().any(|slice| slice.is_scarce()) {
            let bell = &self.shared.desk.bell;
            todo = bell.wait_timeout(todo, nap).unwrap_or_else(PoisonError::into_inner).0;
        }
        todo.take()
    }

    /// Says that this process lives, if it holds or wants something. If it was given up, it holds nothing.
    fn alive(&mut self, wants: bool) -> Result<()> {
        let due = self.renewed.is_none_or(|at| at.elapsed() > RENEW);
        if !(due && (wants || self.holding)) {
            return Ok(());
        }
        let (before, mark) = (now_us(), Instant::now());
        let kept = block_on(self.shared.store.keep(&self.shared.process, LIFE))?;
        if !kept {
            self.lose();
        }
        self.renewed = Some(mark);
        // A margin: others count from when they wrote it down, by a clock that is not quite this one.
        let sure = i64::try_from(LIFE.saturating_sub(RENEW).as_micros()).unwrap_or(0);
        self.shared.alive_until_us.store(before + sure, Relaxed);
        Ok(())
    }

    fn lose(&mut self) {
        for turn in 0..8 {
            self.shared.sweep(turn, |slice| {
                slice.lose();
                false
            });
        }
        self.waiting.iter_mut().for_each(|request| request.have.fill(0));
    }

    /// Gives the store what was used, what is over, and what others have asked for.
    fn give_back(&mut self, returns: Vec<Arc<Slice>>, changed: bool) -> Result<()> {
        let mut gives = Vec::new();
        for slice in returns {
            slice.noted.store(false, Relaxed);
            let used = slice.take_used();
            if used > 0 {
                gives.push(Give { counter: slice.counter.clone(), amount: used, used_at_us: Some(now_us()) });
            }
            if slice.is_scarce() {
                gives.extend(surrendered(&slice));
            }
        }
        let mut asked = Vec::new();
        if changed && self.holding {
            asked = block_on(self.shared.store.recalled(&self.shared.process))?;
            for counter in &asked {
                if let Some(slice) = self.shared.find(counter) {
                    slice.scarce.store(true, Relaxed);
                    gives.extend(surrendered(&slice));
                }
            }
            self.let_go(&asked, &mut gives);
        }
        if gives.is_empty() && asked.is_empty() {
            return Ok(());
        }
        let back = gives.clone();
        let done = block_on(self.shared.store.give(&self.shared.process, gives, asked));
        if done.is_err() {
            // It is still ours, and is given back later.
            for give in back.iter().filter(|give| give.used_at_us.is_none()) {
                if let Some(slice) = self.shared.find(&give.counter) {
                    slice.put(give.amount);
                }
            }
        }
        done
    }

    /// What waiting calls have collected of counters that others ask for, but the first of them, goes back too.
    fn let_go(&mut self, asked: &[Counter], gives: &mut Vec<Give>) {
        for request in &mut self.waiting {
            for (want, have) in request.wanted.iter().zip(&mut request.have) {
                if *have > 0 && asked.contains(&want.counter) {
                    let amount = std::mem::take(have);
                    gives.push(Give { counter: want.counter.clone(), amount, used_at_us: None });
                }
            }
        }
    }

    /// Serves the calls that wait, in their order.
    fn serve(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.holding = true;
        let mut asks = Vec::new();
        let mut places = Vec::new();
        let mut stale = Vec::new();
        for (r, request) in self.waiting.iter_mut().enumerate() {
            for (p, want) in request.wanted.iter().enumerate() {
                let Some(amount) = want.amount else { continue };
                let (slice, _) = self.shared.slice(&want.rule.limit, &want.counter);
                let old = slice.turn(want.slot);
                if old > 0 {
                    stale.push(Give { counter: want.counter.clone(), amount: old, used_at_us: None });
                }
                request.have[p] += slice.collect(want.slot, amount - request.have[p]);
                let need = amount - request.have[p];
                if need > 0 {
                    asks.push(Ask {
                        counter: want.counter.clone(),
                        need,
                        want: need.saturating_add(amount.saturating_mul(AHEAD - 1)),
                        at_us: request.at_us,
                        recall: request.recalled[p],
                    });
                    places.push((r, p));
                }
            }
        }
        if !stale.is_empty() {
            block_on(self.shared.store.give(&self.shared.process, stale, Vec::new()))?;
        }
        let answers = if asks.is_empty() {
            Vec::new()
        } else {
            block_on(self.shared.store.take(&self.shared.process, asks))?
        };
        self.answer(places, answers);
        Ok(())
    }

    fn answer(&mut self, places: Vec<(usize, usize)>, answers: Vec<Answer>) {
        let mut verdicts: Vec<Option<(usize, Standing, bool)>> = vec![None; self.waiting.len()];
        let mut gone: Vec<usize> = Vec::new();
        for ((r, p), answer) in places.into_iter().zip(answers) {
            let want = &self.waiting[r].wanted[p];
            let (slice, _) = self.shared.slice(&want.rule.limit, &want.counter);
            match answer {
                Answer::Granted { amount, standing } => {
                    let need = want.amount.unwrap_or(0) - self.waiting[r].have[p];
                    slice.scarce.store(amount == need && standing.room() < need, Relaxed);
                    slice.seen(standing.settled, standing.max);
                    self.waiting[r].have[p] += need;
                    slice.put(amount - need);
                }
                Answer::Short { standing, asked } => {
                    slice.scarce.store(true, Relaxed);
                    slice.seen(standing.settled, standing.max);
                    self.waiting[r].recalled[p] = asked;
                    let late = self.waiting[r].until <= Instant::now();
                    verdicts[r].get_or_insert((p, standing, asked.is_none() || late));
                }
                Answer::Gone => gone.push(r),
            }
        }
        // What a refused call had collected is for those behind it: they are not refused in the same turn.
        let mut freed: HashSet<Counter> = HashSet::new();
        let waiting = std::mem::take(&mut self.waiting);
        for (request, (r, verdict)) in waiting.into_iter().zip(verdicts.into_iter().enumerate()) {
            match verdict {
                _ if gone.contains(&r) => self.again(request),
                None => self.hold(&request),
                Some((p, standing, true)) if !freed.contains(&request.wanted[p].counter) => {
                    for (want, have) in
                        request.wanted.iter().zip(&request.have).filter(|(_, have)| **have > 0)
                    {
                        freed.insert(want.counter.clone());
                        let (slice, _) = self.shared.slice(&want.rule.limit, &want.counter);
                        slice.put(*have);
                        self.shared.ended(&slice);
                    }
                    request.ticket.answer(Err(Box::new(short(&request, p, standing))));
                }
                Some(_) => self.waiting.push(request),
            }
        }
    }

    /// Everything was collected: the call may go.
    fn hold(&self, request: &Request) {
        let parts = request.wanted.iter().map(|want| {
            let (slice, _) = self.shared.slice(&want.rule.limit, &want.counter);
            if let Some(amount) = want.amount {
                slice.promise(&want.rule, amount);
                if want.rule.limit.rate().is_some() {
                    self.shared.desk.return_soon(&slice);
                }
            }
            Part { rule: Arc::clone(&want.rule), slice, slot: want.slot, amount: want.amount }
        });
        let parts = parts.collect();
        request.ticket.answer(Ok(Hold::new(Arc::clone(&self.shared), parts)));
    }

    /// A limit is gone: the others are asked anew.
    fn again(&mut self, mut request: Request) {
        let rules = self.shared.rules();
        for (want, have) in request.wanted.iter().zip(&request.have) {
            self.shared.slice(&want.rule.limit, &want.counter).0.put(*have);
        }
        request.wanted.retain(|want| rules.get(&want.rule.id).is_some());
        request.have = vec![0; request.wanted.len()];
        request.recalled = vec![None; request.wanted.len()];
        self.waiting.push(request);
    }

    /// The store cannot be asked: calls wait while they may, then each limit's own rule applies.
    fn failed(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(target: "payi", %error, "the store of limits cannot be asked now");
        }
        let now = Instant::now();
        let waiting = std::mem::take(&mut self.waiting);
        for request in waiting {
            if request.until > now {
                self.waiting.push(request);
                continue;
            }
            for (want, have) in request.wanted.iter().zip(&request.have).filter(|(_, have)| **have > 0) {
                self.shared.slice(&want.rule.limit, &want.counter).0.put(*have);
            }
            request.ticket.answer(without_store(&self.shared, &request.wanted));
        }
    }

    fn look(&self, looks: Vec<(Counter, i64)>) {
        for (counter, slot) in looks {
            let seen = block_on(self.shared.store.counter(&counter, now_us()));
            if let (Ok(Some(standing)), Some(slice)) = (seen, self.shared.find(&counter)) {
                slice.turn(slot);
                slice.seen(standing.settled, standing.max);
            }
        }
    }

    /// Gives back what no call has touched for a while.
    fn sweep(&mut self) {
        if self.swept.elapsed() < SWEEP {
            return;
        }
        self.swept = Instant::now();
        self.turn = self.turn.wrapping_add(1);
        let mut gives = Vec::new();
        self.shared.sweep(self.turn, |slice| {
            let Some(amount) = slice.retire() else { return true };
            if amount > 0 {
                gives.push(Give { counter: slice.counter.clone(), amount, used_at_us: None });
            }
            false
        });
        self.holding = !self.waiting.is_empty() || self.shared.holds_anything();
        if !gives.is_empty()
            && let Err(error) =
                block_on(self.shared.store.give(&self.shared.process, gives.clone(), Vec::new()))
        {
            tracing::debug!(target: "payi", %error, "what was not used could not be given back yet");
            for give in gives {
                if let Some(rule) = self.shared.rules().get(&give.counter.limit) {
                    self.shared.slice(&rule.limit, &give.counter).0.put(give.amount);
                }
            }
        }
    }

    /// The end: gives everything back that no call holds.
    fn close(&mut self) {
        for request in std::mem::take(&mut self.waiting) {
            request.ticket.answer(without_store(&self.shared, &request.wanted));
        }
        let mut gives = Vec::new();
        for turn in 0..8 {
            self.shared.sweep(turn, |slice| {
                let used = slice.take_used();
                if used > 0 {
                    gives.push(Give {
                        counter: slice.counter.clone(),
                        amount: used,
                        used_at_us: Some(now_us()),
                    });
                }
                gives.extend(surrendered(slice));
                true
            });
        }
        if !gives.is_empty() {
            let _ = block_on(self.shared.store.give(&self.shared.process, gives, Vec::new()));
        }
    }
}

fn surrendered(slice: &Slice) -> Option<Give> {
    let amount = slice.surrender();
    (amount > 0).then(|| Give { counter: slice.counter.clone(), amount, used_at_us: None })
}

/// The refusal of a call for whose part `p` there is not enough.
fn short(request: &Request, p: usize, mut standing: Standing) -> Refused {
    let wanted = &request.wanted;
    let by = &wanted[p].rule;
    // What was collected for this call, in vain, is reserved for nobody.
    standing.held -= request.have[p];
    Refused {
        refusal: refusal(&by.limit, &standing, wanted[p].amount, None),
        marks: marks(wanted.iter().map(|want| &want.rule.id), &by.id),
    }
}

/// What becomes of a call whose limits cannot be asked: it passes those that are open then.
pub(crate) fn without_store(shared: &Arc<Shared>, wanted: &[Wanted]) -> Result<Hold, Box<Refused>> {
    if let Some(closed) = wanted.iter().find(|want| want.amount.is_some() && !want.rule.limit.fails_open()) {
        let max = closed.rule.limit.max_of(&closed.counter.subject);
        let standing = Standing { max, ..Standing::default() };
        return Err(Box::new(Refused {
            refusal: refusal(&closed.rule.limit, &standing, closed.amount, Some("store")),
            marks: marks(wanted.iter().map(|want| &want.rule.id), &closed.rule.id),
        }));
    }
    let parts = wanted.iter().map(|want| {
        let (slice, _) = shared.slice(&want.rule.limit, &want.counter);
        Part { rule: Arc::clone(&want.rule), slice, slot: want.slot, amount: None }
    });
    Ok(Hold::new(Arc::clone(shared), parts.collect()))
}

/// Wakes a thread.
struct Unpark(Thread, AtomicBool);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Relaxed);
        self.0.unpark();
    }
}

/// Waits for a store on this thread, which is ours.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let wake = Arc::new(Unpark(thread::current(), AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&wake));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Task::from_waker(&waker)) {
            return done;
        }
        while !wake.1.swap(false, Relaxed) {
            thread::park();
        }
    }
}
