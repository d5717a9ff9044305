//! What a call cost, told to the code that made it.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll, Waker},
};

use uuid::Uuid;

use crate::{
    events::Outcome,
    limits::LimitState,
    pricing::Cost,
    sink::delivered::{self, Delivered},
    usage::Usage,
};

/// The result of one attempt: a handle that may be kept, cloned and sent anywhere.
///
/// From a response, before its body is read: [`receipt`]. From a client that hides the response:
/// [`ReceiptsExt::with_receipts`].
#[derive(Clone)]
pub struct Receipt(Arc<Shared>);

struct Shared {
    id: Uuid,
    settled: OnceLock<Box<Settled>>,
    limits: OnceLock<Vec<(Arc<str>, LimitState)>>,
    waiting: Mutex<Vec<Waker>>,
}

/// How an attempt ended and what it cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled {
    /// How it ended.
    pub outcome: Outcome,
    /// What was used, over all models that took part.
    pub usage: Usage,
    /// What it cost, in US dollars, and where the figure comes from.
    pub cost: Cost,
}

impl Receipt {
    #[inline]
    pub(crate) fn new(id: Uuid) -> Self {
        let receipt = Self(Arc::new(Shared {
            id,
            settled: OnceLock::new(),
            limits: OnceLock::new(),
            waiting: Mutex::default(),
        }));
        Collector::collect(&receipt);
        receipt
    }

    /// The event's id (UUIDv7), by which the ledger and Pay-i know the attempt.
    pub fn event_id(&self) -> Uuid {
        self.0.id
    }

    /// How it ended, if it has: when the answer's body has been read to its end, or was dropped.
    pub fn try_get(&self) -> Option<Settled> {
        self.0.settled.get().map(|settled| **settled)
    }

    /// The limits it counts against, by id, each with its state after it, as far as this process knows;
    /// empty until it has ended. What Pay-i says of its own limits: [`delivered`](Self::delivered).
    pub fn limits(&self) -> &[(Arc<str>, LimitState)] {
        self.0.limits.get().map_or(&[], Vec::as_slice)
    }

    /// Waits until it has ended. Without a time limit: an answer that nobody reads does not end.
    ///
    /// Where the answer is only announced, to be made in the background, it has ended with the announcement, and its
    /// cost is not known here; the event has it, once somebody has fetched the answer.
    pub fn settled(&self) -> impl Future<Output = Settled> + Send + 'static {
        Settling(Arc::clone(&self.0))
    }

    /// Waits until Pay-i has taken the event, and gives what it said.
    ///
    /// `None` if it refused the event, or if nothing is sent to Pay-i. Without a time limit: while
    /// Pay-i cannot be reached there is no answer, and of events that went long ago none is kept
    /// (the last 1,024 are).
    pub fn delivered(&self) -> impl Future<Output = Option<Arc<Delivered>>> + Send + 'static {
        delivered::delivered(self.0.id)
    }

    /// Whether nobody else has it, so that nobody can ask when it is settled.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(crate) fn stand(&self, limits: Vec<(Arc<str>, LimitState)>) {
        let _ = self.0.limits.set(limits);
    }

    pub(crate) fn settle(&self, settled: Settled) {
        if !self.is_alone() && self.0.settled.set(Box::new(settled)).is_ok() {
            let waiting = std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("event_id", &self.0.id).field("settled", &self.try_get()).finish()
    }
}

struct Settling(Arc<Shared>);

impl Future for Settling {
    type Output = Settled;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Settled> {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(settled) = self.0.settled.get() {
            return Poll::Ready(**settled);
        }
        if !waiting.iter().any(|waker| waker.will_wake(task.waker())) {
            waiting.push(task.waker().clone());
        }
        Poll::Pending
    }
}

/// Something that came back from a tracked call.
pub trait Answered: sealed::Sealed {
    #[doc(hidden)]
    fn receipt(&self) -> Option<Receipt>;
}

mod sealed {
    pub trait Sealed {}
}

#[cfg(feature = "reqwest")]
impl sealed::Sealed for ::reqwest::Response {}

#[cfg(feature = "reqwest")]
impl Answered for ::reqwest::Response {
    fn receipt(&self) -> Option<Receipt> {
        self.extensions().get().cloned()
    }
}

#[cfg(feature = "reqwest-0_12")]
impl sealed::Sealed for ::reqwest012::Response {}

#[cfg(feature = "reqwest-0_12")]
impl Answered for ::reqwest012::Response {
    fn receipt(&self) -> Option<Receipt> {
        self.extensions().get().cloned()
    }
}

#[cfg(feature = "_http")]
impl<B> sealed::Sealed for http::Response<B> {}

#[cfg(feature = "_http")]
impl<B> Answered for http::Response<B> {
    fn receipt(&self) -> Option<Receipt> {
        self.extensions().get().cloned()
    }
}

#[cfg(feature = "aws")]
impl sealed::Sealed for ::aws_smithy_runtime_api::client::orchestrator::HttpResponse {}

#[cfg(feature = "aws")]
impl Answered for ::aws_smithy_runtime_api::client::orchestrator::HttpResponse {
    fn receipt(&self) -> Option<Receipt> {
        self.extension().cloned()
    }
}

/// The receipt of a response; `None` if the call was not tracked.
///
/// Ask for it before the body is read: reading consumes the response.
pub fn receipt(response: &impl Answered) -> Option<Receipt> {
    response.receipt()
}

thread_local! {
    static COLLECTOR: Cell<Option<Arc<Collector>>> = const { Cell::new(None) };
}

/// Gathers the receipts of the calls that begin inside a future.
struct Collector {
    receipts: Mutex<Vec<Receipt>>,
    outer: OnceLock<Arc<Collector>>,
}

impl Collector {
    fn swap(collector: Option<Arc<Self>>) -> Option<Arc<Self>> {
        COLLECTOR.try_with(|current| current.replace(collector)).unwrap_or(None)
    }

    fn collect(receipt: &Receipt) {
        let Some(current) = Self::swap(None) else { return };
        for collector in std::iter::successors(Some(&current), |c| c.outer.get()) {
            collector.receipts.lock().unwrap_or_else(PoisonError::into_inner).push(receipt.clone());
        }
        Self::swap(Some(current));
    }
}

/// Receipts from clients that hide the response.
pub trait ReceiptsExt: Future + Sized {
    /// Runs the future and hands out, beside what it returns, the receipts of the calls that began
    /// in it, in their order, retries included. What it spawns as tasks of their own is not seen.
    fn with_receipts(self) -> WithReceipts<Self> {
        let collector = Collector { receipts: Mutex::default(), outer: OnceLock::new() };
        WithReceipts { future: self, collector: Arc::new(collector) }
    }
}

impl<F: Future> ReceiptsExt for F {}

pin_project_lite::pin_project! {
    /// The future of [`ReceiptsExt::with_receipts`].
    #[must_use = "futures do nothing unless polled"]
    pub struct WithReceipts<F> {
        #[pin]
        future: F,
        collector: Arc<Collector>,
    }
}

impl<F> fmt::Debug for WithReceipts<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithReceipts").finish_non_exhaustive()
    }
}

/// What was collecting before, put back however the poll ends.
struct Outer(Option<Arc<Collector>>);

impl Drop for Outer {
    fn drop(&mut self) {
        Collector::swap(self.0.take());
    }
}

impl<F: Future> Future for WithReceipts<F> {
    type Output = (F::Output, Vec<Receipt>);

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outer = Collector::swap(Some(Arc::clone(this.collector)));
        if let Some(outer) = &outer {
            // The first poll decides whose calls these are, too.
            this.collector.outer.get_or_init(|| Arc::clone(outer));
        }
        let output = {
            let _outer = Outer(outer);
            this.future.poll(task)
        };
        output.map(|output| {
            let receipts = &mut *this.collector.receipts.lock().unwrap_or_else(PoisonError::into_inner);
            (output, std::mem::take(receipts))
        })
    }
}
