//! The gate's thread: asks the store on behalf of calls, gives back what others need more, and says that
//! this process lives.

use std::{
    collections::{BTreeMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
    time::Duration,
};

use crate::{
    error::{Error, Kind, Result},
    limits::{
        Answer, Ask, Counter, Give, Hold, Rules, Standing,
        desk::{Request, Todo, Wanted, watch},
        gate::{Refused, Shared, marks, now_us, refusal},
        hold::Part,
        slice::Slice,
        sync::{
            Instant,
            atomic::Ordering::Relaxed,
            thread::{self, JoinHandle},
        },
        wait::block_on,
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

/// Takes the limits from the store, if they have changed. For whoever has the turn.
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
    /// What goes to the store and has not got there yet: of which counter, when it was used if that is said, how much.
    outbox: BTreeMap<(Counter, Option<i64>), i128>,
    /// The store may say something new, and has not been asked.
    changed: bool,
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
            outbox: BTreeMap::new(),
            changed: false,
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
        let Todo { requests, tickets: _, looks, returns, lost, stop } = self.gather();
        let shared = Arc::clone(&self.shared);
        let turn = shared.turn();
        self.waiting.extend(requests);
        self.disown(lost);
        self.collect(returns);
        self.changed |= self.shared.store.changed();
        let done = self.alive(!self.waiting.is_empty()).and_then(|()| self.exchange());
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
        drop(turn);
        !stop
    }

    /// What process and store have to tell each other. After an error it is all said again in the next turn.
    fn exchange(&mut self) -> Result<()> {
        if self.changed {
            learn(&self.shared)?;
            self.disown(Vec::new());
        }
        self.give_back()?;
        self.serve()?;
        self.changed = false;
        Ok(())
    }

    fn gather(&mut self) -> Todo {
        let nap = match () {
            () if !self.waiting.is_empty() => WAITING,
            () if self.holding || !self.outbox.is_empty() => HOLDING,
            () => IDLE,
        };
        let mut todo = self.shared.desk.todo();
        if todo.requests.is_empty() && !todo.stop && !todo.returns.iter().any(|slice| slice.is_due()) {
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
        self.outbox.retain(|(_, used_at_us), _| used_at_us.is_some());
    }

    /// Forgets what was given of counters that are `lost`, or that the desk has heard are, because they are gone or began
    /// anew; and measures calls that wait by the limits in force.
    fn disown(&mut self, mut lost: Vec<Arc<str>>) {
        lost.append(&mut self.shared.desk.todo().lost);
        self.outbox.retain(|(counter, _), _| !lost.contains(&counter.limit));
        let rules = self.shared.rules();
        let over: Vec<_> = self.waiting.iter_mut().flat_map(|request| request.measure(&rules)).collect();
        for (counter, amount) in &over {
            self.post(counter, None, *amount);
        }
    }

    /// Takes from slices what was used of them, and what is over.
    fn collect(&mut self, returns: Vec<Arc<Slice>>) {
        for slice in returns {
            slice.noted.store(false, Relaxed);
            self.post(&slice.counter, Some(now_us()), slice.take_used());
            if slice.is_due() {
                self.post(&slice.counter, None, slice.over());
            }
        }
    }

    /// To be sent to the store.
    fn post(&mut self, counter: &Counter, used_at_us: Option<i64>, amount: i128) {
        if amount > 0 {
            *self.outbox.entry((counter.clone(), used_at_us)).or_default() += amount;
        }
    }

    /// Gives the store what was used, what is over, and what others have asked for.
    fn give_back(&mut self) -> Result<()> {
        let mut asked = Vec::new();
        if self.changed && self.holding {
            asked = block_on(self.shared.store.recalled(&self.shared.process))?;
            for counter in &asked {
                if let Some(slice) = self.shared.find(counter) {
                    self.post(counter, None, slice.surrender());
                }
            }
            let back: Vec<_> = self.waiting.iter_mut().flat_map(|request| request.let_go(&asked)).collect();
            for (counter, amount) in &back {
                self.post(counter, None, *amount);
            }
        }
        self.send(asked)
    }

    /// Sends what there is for the store, and that nothing more can be given of `all_of`.
    fn send(&mut self, all_of: Vec<Counter>) -> Result<()> {
        if self.outbox.is_empty() && all_of.is_empty() {
            return Ok(());
        }
        let gives = self.outbox.iter().map(|((counter, used_at_us), amount)| Give {
            counter: counter.clone(),
            amount: *amount,
            used_at_us: *used_at_us,
        });
        block_on(self.shared.store.give(&self.shared.process, gives.collect(), all_of))?;
        self.outbox.clear();
        Ok(())
    }

    /// Lets go of calls that were given up, or answered by the watch: nobody else is refused for their sake.
    fn forget(&mut self) {
        let shared = &self.shared;
        self.waiting.retain(|request| {
            let wanted = request.ticket.is_waited_for();
            if !wanted {
                put_back(shared, request);
            }
            wanted
        });
    }

    /// Serves the calls that wait, in their order.
    fn serve(&mut self) -> Result<()> {
        self.forget();
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.holding = true;
        let mut asks = Vec::new();
        let mut places = Vec::new();
        let mut aside = Vec::new();
        for (r, request) in self.waiting.iter_mut().enumerate() {
            for (p, want) in request.wanted.iter().enumerate() {
                let Some(amount) = want.amount else { continue };
                let (slice, _) = self.shared.slice(&want.rule.limit, &want.counter);
                slice.turn(want.slot);
                aside.push((want.counter.clone(), slice.take_aside()));
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
        for (counter, amount) in &aside {
            self.post(counter, None, *amount);
        }
        self.send(Vec::new())?;
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
        let mut freed: HashSet<Counter> = HashSet::new();
        for ((r, p), answer) in places.into_iter().zip(answers) {
            let request = &mut self.waiting[r];
            let want = &request.wanted[p];
            let (slice, _) = self.shared.slice(&want.rule.limit, &want.counter);
            match answer {
                Answer::Granted { amount, standing } => {
                    let need = want.amount.unwrap_or(0) - request.have[p];
                    slice.scarce.store(amount == need && standing.room() < need, Relaxed);
                    slice.seen(standing.settled, standing.max);
                    request.have[p] += need;
                    slice.put(want.slot, amount - need);
                    // Given in advance: it may be what another call of this turn is short of.
                    freed.extend((amount > need).then(|| want.counter.clone()));
                }
                Answer::Short { standing, asked } => {
                    slice.scarce.store(true, Relaxed);
                    slice.seen(standing.settled, standing.max);
                    request.recalled[p] = asked;
                    let late = request.until <= Instant::now();
                    verdicts[r].get_or_insert((p, standing, asked.is_none() || late));
                }
                Answer::Gone => gone.push(r),
            }
        }
        let mut short = Vec::new();
        let waiting = std::mem::take(&mut self.waiting);
        for (request, (r, verdict)) in waiting.into_iter().zip(verdicts.into_iter().enumerate()) {
            match verdict {
                _ if gone.contains(&r) => self.again(request),
                None if self.hold(&request) => {}
                // It was given up in this moment.
                None => freed.extend(request.wanted.into_iter().map(|want| want.counter)),
                Some((p, standing, last)) => short.push((request, p, standing, last)),
            }
        }
        self.refuse(short, freed);
    }

    /// Refuses calls for which there is not enough, unless they may still get it. What is `freed` in this turn, and
    /// what one of them had collected, is for those behind it.
    fn refuse(&mut self, short: Vec<(Request, usize, Standing, bool)>, mut freed: HashSet<Counter>) {
        for (request, p, standing, last) in short {
            if !last || freed.contains(&request.wanted[p].counter) {
                self.waiting.push(request);
                continue;
            }
            let had = request.wanted.iter().zip(&request.have).filter(|(_, have)| **have > 0);
            freed.extend(had.map(|(want, _)| want.counter.clone()));
            put_back(&self.shared, &request);
            request.ticket.answer(Err(Box::new(too_little(&request, p, standing))));
        }
    }

    /// Everything was collected: the call may go. Whether somebody waited for that.
    fn hold(&self, request: &Request) -> bool {
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
        let taken = request.ticket.answer(Ok(Hold::new(Arc::clone(&self.shared), parts)));
        taken && Arc::strong_count(&request.ticket) > 1
    }

    /// A limit is gone, which this process is about to learn: all are asked anew then.
    fn again(&mut self, mut request: Request) {
        put_back(&self.shared, &request);
        request.have.fill(0);
        request.recalled.fill(None);
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
            put_back(&self.shared, &request);
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
        let mut over = Vec::new();
        self.shared.sweep(self.turn, |slice| {
            let Some(amount) = slice.retire() else { return true };
            over.push((slice.counter.clone(), amount));
            false
        });
        for (counter, amount) in &over {
            self.post(counter, None, *amount);
        }
        self.holding = !self.waiting.is_empty() || self.shared.holds_anything();
        if let Err(error) = self.send(Vec::new()) {
            tracing::debug!(target: "payi", %error, "what was not used could not be given back yet");
        }
    }

    /// The end: gives everything back that no call holds.
    fn close(&mut self) {
        self.shared.alive_until_us.store(0, Relaxed);
        for request in std::mem::take(&mut self.waiting) {
            for (want, have) in request.wanted.iter().zip(&request.have) {
                self.post(&want.counter, None, *have);
            }
            request.ticket.answer(without_store(&self.shared, &request.wanted));
        }
        let mut slices = Vec::new();
        for turn in 0..8 {
            self.shared.sweep(turn, |slice| {
                slices.push(Arc::clone(slice));
                true
            });
        }
        for slice in &slices {
            slice.scarce.store(true, Relaxed);
        }
        self.collect(slices);
        let _ = self.send(Vec::new());
        // Whoever answers late calls may go as well.
        self.shared.desk.stop();
    }
}

/// What was collected for a call in vain is free again.
fn put_back(shared: &Shared, request: &Request) {
    for (want, have) in request.wanted.iter().zip(&request.have).filter(|(_, have)| **have > 0) {
        let (slice, _) = shared.slice(&want.rule.limit, &want.counter);
        slice.put(want.slot, *have);
        shared.ended(&slice);
    }
}

/// The refusal of a call for whose part `p` there is not enough.
fn too_little(request: &Request, p: usize, mut standing: Standing) -> Refused {
    let wanted = &request.wanted;
    let by = &wanted[p].rule;
    // What was collected for this call, in vain, is reserved for nobody.
    standing.held -= request.have[p];
    let frees = || by.limit.window.frees(wanted[p].slot, standing.held);
    standing.frees_us = standing.frees_us.or_else(frees);
    Refused {
        refusal: refusal(&by.limit, &standing, wanted[p].amount, None),
        marks: marks(wanted.iter().map(|want| &want.rule.id), &by.id),
    }
}

/// What becomes of a call whose limits cannot be asked: it passes those that are open then.
pub(crate) fn without_store(shared: &Arc<Shared>, wanted: &[Wanted]) -> Result<Hold, Box<Refused>> {
    if let Some(closed) = wanted.iter().find(|want| want.amount.is_some() && !want.rule.limit.fails_open()) {
        let standing = shared.known(&closed.rule.limit, &closed.counter, closed.slot);
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
