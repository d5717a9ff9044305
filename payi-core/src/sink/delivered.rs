//! What Pay-i said about an event, told to whoever holds the call's receipt.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use uuid::Uuid;

pub use crate::limits::LimitState;
use crate::money::Money;

/// How many of the last answers are kept for receipts that ask late.
const KEPT: usize = 1024;

/// What Pay-i says about an event that it has taken.
///
/// An event that went in a bulk is taken without further words: then everything here is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// Pay-i's id of the request.
    pub request_id: Option<Box<str>>,
    /// What Pay-i says the call cost, in US dollars.
    pub cost: Option<Money>,
    /// The limits the call counts against, each with its state after the call.
    pub limits: Vec<(Box<str>, LimitState)>,
    /// The limits that would have blocked the call, had it gone through the proxy.
    pub blocked_limit_ids: Vec<Box<str>>,
    /// Units that the resource has no price for.
    pub unknown_units: Vec<Box<str>>,
    /// What Pay-i found odd.
    pub warnings: Vec<Box<str>>,
    /// Pay-i had it already.
    pub duplicate: bool,
}

/// Where answers and receipts meet.
#[derive(Default)]
struct Board {
    answers: HashMap<Uuid, Option<Arc<Delivered>>>,
    order: VecDeque<Uuid>,
    waiting: HashMap<Uuid, Vec<Waker>>,
}

static BOARD: Mutex<Option<Board>> = Mutex::new(None);

/// Couriers to Pay-i that are running.
static CARRYING: AtomicUsize = AtomicUsize::new(0);

fn board() -> MutexGuard<'static, Option<Board>> {
    BOARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While one of these lives, receipts have something to wait for.
#[cfg(feature = "reqwest")]
#[derive(Debug)]
pub(crate) struct Carrying(());

#[cfg(feature = "reqwest")]
impl Carrying {
    pub(crate) fn new() -> Self {
        CARRYING.fetch_add(1, Relaxed);
        Self(())
    }

    /// Tells what became of an event: `None` if it was refused.
    pub(crate) fn tell(&self, id: Uuid, answer: Option<Delivered>) {
        let Self(()) = self;
        let mut board = board();
        let board = board.get_or_insert_default();
        if board.answers.insert(id, answer.map(Arc::new)).is_none() {
            board.order.push_back(id);
        }
        while board.order.len() > KEPT {
            if let Some(oldest) = board.order.pop_front() {
                board.answers.remove(&oldest);
            }
        }
        for waker in board.waiting.remove(&id).unwrap_or_default() {
            waker.wake();
        }
    }

    /// Whether somebody waits to hear what Pay-i says about it.
    pub(crate) fn is_awaited(&self, id: Uuid) -> bool {
        let Self(()) = self;
        board().as_ref().is_some_and(|board| board.waiting.contains_key(&id))
    }
}

#[cfg(feature = "reqwest")]
impl Drop for Carrying {
    fn drop(&mut self) {
        if CARRYING.fetch_sub(1, Relaxed) == 1 {
            // Nobody will answer any more.
            let waiting =
                board().as_mut().map(|board| std::mem::take(&mut board.waiting)).unwrap_or_default();
            waiting.into_values().flatten().for_each(Waker::wake);
        }
    }
}

/// Waits for what Pay-i says about an event. `None` if it was refused, if nothing is sent to Pay-i, or if
/// the answer came too long ago to be remembered.
pub(crate) fn delivered(id: Uuid) -> impl Future<Output = Option<Arc<Delivered>>> + Send + 'static {
    Waiting(id)
}

struct Waiting(Uuid);

impl Future for Waiting {
    type Output = Option<Arc<Delivered>>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let mut board = board();
        let board = board.get_or_insert_default();
        if let Some(answer) = board.answers.get(&self.0) {
            return Poll::Ready(answer.clone());
        }
        if CARRYING.load(Relaxed) == 0 {
            return Poll::Ready(None);
        }
        let wakers = board.waiting.entry(self.0).or_default();
        if !wakers.iter().any(|waker| waker.will_wake(task.waker())) {
            wakers.push(task.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // A waiter that gives up leaves nothing behind; others on the same event ask again when polled.
        if let Some(board) = board().as_mut() {
            for waker in board.waiting.remove(&self.0).unwrap_or_default() {
                waker.wake();
            }
        }
    }
}
