//! The scope of a block: entered where the block starts, put away whenever its task waits, left where it
//! ends, however it ends.
//!
//! ```text
//!              enter          Pending            polled again        end of the block
//! outer  ──────┐                ┌── outer / others ──┐                  ┌──── outer
//!              └── the block's ─┘                    └── the block's ───┘
//! ```
//!
//! A block may wait only where `track_context!` can see it, at its own `.await`s, and each of those is
//! turned into a [`Run`]: it brings the scope back for every poll and puts it away when the poll says
//! `Pending`. So the guard is never active while the task is parked, and what other tasks, or other
//! branches of the same task, do in the meantime is theirs.
//!
//! Entering moves the frame into the thread-local and what was there into the guard; parking moves
//! both back. Nothing is counted or allocated at a poll.

use std::{
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use pin_project_lite::pin_project;

use crate::context::{Entry, Frame, Scoped, scope, spare};

/// What an await point needs of the guard of its block.
pub trait Hold {
    /// Puts the scope away, which is in force; inner scopes first.
    fn park(&mut self);
    /// Brings the scope back, which is away; outer scopes first.
    fn unpark(&mut self);
    /// Whether the scope is away.
    fn is_parked(&self) -> bool;
}

/// The scope of a block that awaits.
#[must_use = "the scope ends when the guard is dropped"]
#[derive(Debug)]
pub struct Guard {
    /// The scope around the block; while it is parked, the block's own.
    slot: Option<Arc<Frame>>,
    parked: bool,
}

/// The scope of a block that awaits inside another such block of the same function.
///
/// Both leave and come back together: what the inner one put aside is the outer one's scope, which must
/// not be there either while the task is parked.
#[must_use = "the scope ends when the guard is dropped"]
#[derive(Debug)]
pub struct Nested<'o, G: Hold> {
    inner: Guard,
    outer: &'o mut G,
}

/// The scope of a block that does not await.
///
/// Not `Send`, so that an await which no macro can see (because another macro writes it) does not compile
/// where the future must be `Send`.
#[must_use = "the scope ends when the guard is dropped"]
#[derive(Debug)]
pub struct SyncGuard {
    _inner: Guard,
    _not_send: PhantomData<*const ()>,
}

/// Enters a scope inside the running code's.
#[inline]
pub fn enter<const N: usize>(entries: [Entry; N]) -> Guard {
    Guard::enter(Frame::child(scope::current(), entries))
}

/// Enters a scope inside the running code's, for code that does not await.
#[inline]
pub fn enter_sync<const N: usize>(entries: [Entry; N]) -> SyncGuard {
    SyncGuard { _inner: enter(entries), _not_send: PhantomData }
}

/// Enters a scope inside that of `outer`, a block of the same function.
#[inline]
pub fn nest<G: Hold, const N: usize>(entries: [Entry; N], outer: &mut G) -> Nested<'_, G> {
    Nested { inner: enter(entries), outer }
}

impl Guard {
    #[inline]
    pub(crate) fn enter(frame: Arc<Frame>) -> Self {
        Self { slot: scope::swap(Some(frame)), parked: false }
    }
}

impl Hold for Guard {
    #[inline]
    fn park(&mut self) {
        scope::exchange(&mut self.slot);
        self.parked = true;
    }

    #[inline]
    fn unpark(&mut self) {
        scope::exchange(&mut self.slot);
        self.parked = false;
    }

    #[inline]
    fn is_parked(&self) -> bool {
        self.parked
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        if !self.parked {
            scope::exchange(&mut self.slot);
        }
        if let Some(left) = self.slot.take() {
            spare::left(left);
        }
    }
}

impl<G: Hold> Hold for Nested<'_, G> {
    #[inline]
    fn park(&mut self) {
        self.inner.park();
        self.outer.park();
    }

    #[inline]
    fn unpark(&mut self) {
        self.outer.unpark();
        self.inner.unpark();
    }

    #[inline]
    fn is_parked(&self) -> bool {
        self.inner.is_parked()
    }
}

/// A time in which the scope of a block is away, because a macro waits in it: until this is dropped.
///
/// Dropped with the block, if that is cancelled meanwhile: before the block's variables, as [`Run`] is.
#[must_use = "the scope is away until this is dropped"]
#[derive(Debug)]
pub struct Wait<'g, G: Hold>(&'g mut G);

/// Puts the scope of `guard` away while a macro waits.
#[inline]
pub fn wait<G: Hold>(guard: &mut G) -> Wait<'_, G> {
    guard.park();
    Wait(guard)
}

impl<G: Hold> Wait<'_, G> {
    /// Brings the scope back.
    #[inline]
    pub fn over(self) {}
}

impl<G: Hold> Drop for Wait<'_, G> {
    #[inline]
    fn drop(&mut self) {
        self.0.unpark();
    }
}

pin_project! {
    /// One await point of a block.
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct Run<'g, F, G: Hold> {
        guard: &'g mut G,
        #[pin]
        future: F,
    }

    impl<F, G: Hold> PinnedDrop for Run<'_, F, G> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // If it is parked, the whole block is being cancelled, and what waits for it, the future, is dropped
            // first: right after this. What it does as it goes belongs to the block, and so do the block's
            // variables, which go next: the guard, which goes last, leaves the scope.
            if this.guard.is_parked() {
                this.guard.unpark();
            }
        }
    }
}

/// Awaits `future` for the block of `guard`.
///
/// A function with the future first, so that `f(g().await).await` borrows the guard twice in a row, and
/// the compiler's own "is not a future" lands on the future.
#[inline]
pub fn run<F, G: Hold>(future: F, guard: &mut G) -> Run<'_, F, G> {
    guard.park();
    Run { guard, future }
}

impl<F: Future, G: Hold> Future for Run<'_, F, G> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.guard.unpark();
        // A panic from here unwinds through the guard, which leaves the scope.
        let polled = this.future.poll(cx);
        if polled.is_pending() {
            this.guard.park();
        }
        polled
    }
}

/// A future that runs in a scope of its own inside the running code's.
#[inline]
pub fn scoped<F: Future, const N: usize>(entries: [Entry; N], future: F) -> Scoped<F> {
    Scoped::new(Some(Frame::child(scope::current(), entries)), future)
}

/// A branch of a `join!` or `select!`: it runs in the scope it was made in.
#[inline]
pub fn branch<F: IntoFuture>(future: F) -> Scoped<F::IntoFuture> {
    Scoped::new(scope::current(), future.into_future())
}

/// The value itself: a branch that some `select!`s would treat otherwise if it were named.
#[inline]
pub fn same<T>(value: T) -> T {
    value
}

/// The scope of a function that returns something which runs later.
#[derive(Debug)]
pub struct Scope(Arc<Frame>);

impl Scope {
    /// A scope inside the running code's.
    #[inline]
    pub fn new<const N: usize>(entries: [Entry; N]) -> Self {
        Self(Frame::child(scope::current(), entries))
    }

    /// Runs the function's body.
    ///
    /// As a `FnOnce`, so that the body may give away what it captured, `&mut` borrows included.
    #[inline]
    pub fn run<T>(&self, body: impl FnOnce() -> T) -> T {
        let _guard = Guard::enter(Arc::clone(&self.0));
        body()
    }

    /// The function's body, if it is async.
    #[inline]
    pub fn future<F: Future>(&self, body: F) -> Scoped<F> {
        Scoped::new(Some(Arc::clone(&self.0)), body)
    }

    /// What the function returns, to run in its scope.
    #[inline]
    pub fn wrap<T>(self, later: T) -> Scoped<T> {
        Scoped::new(Some(self.0), later)
    }
}
