//! Work with a scope of its own: the wrapper that a future, stream or iterator is run in, and the guard
//! for sync code.
//!
//! The wrapper moves its scope into the thread-local for as long as the inner work runs, and out again
//! with whatever happened: return, panic, and also while the inner work is dropped. Moved, not cloned:
//! a poll touches no reference count.

use std::{
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::context::{Context, Entry, Frame, scope, spare};

pin_project! {
    /// A future, stream or iterator that runs in a scope of its own, wherever and whenever it is polled.
    #[derive(Debug)]
    #[must_use = "futures, streams and iterators do nothing unless polled"]
    pub struct Scoped<T> {
        // `None` once dropped; an option, because it is dropped inside the scope.
        #[pin]
        pub(super) inner: Option<T>,
        pub(super) frame: Option<Arc<Frame>>,
    }

    impl<T> PinnedDrop for Scoped<T> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.inner.is_some() {
                let inside = Inside::new(this.frame);
                this.inner.set(None);
                drop(inside);
            }
            if let Some(left) = this.frame.take() {
                spare::left(left);
            }
        }
    }
}

impl<T> Scoped<T> {
    /// Runs `inner` in the scope of `frame`.
    pub(crate) const fn new(frame: Option<Arc<Frame>>, inner: T) -> Self {
        Self { inner: Some(inner), frame }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _inside = Inside::new(this.frame);
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<S: Stream> Stream for Scoped<S> {
    type Item = S::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let _inside = Inside::new(this.frame);
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll_next(cx),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.as_ref().map_or((0, Some(0)), S::size_hint)
    }
}

/// Swaps what is in the slot with the running code's scope, until dropped.
pub(super) struct Inside<'s>(&'s mut Option<Arc<Frame>>);

impl<'s> Inside<'s> {
    #[inline]
    pub(super) fn new(slot: &'s mut Option<Arc<Frame>>) -> Self {
        scope::exchange(slot);
        Self(slot)
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        scope::exchange(self.0);
    }
}

/// A scope that the rest of a sync block is in; it ends when this is dropped.
///
/// For sync code only: it belongs to the thread, so it cannot be sent to another, and it may not be held
/// across an `.await`. Guards are dropped in the reverse order of their making.
///
/// ```compile_fail
/// # use payi_core::context;
/// fn is_send<T: Send>(_: T) {}
/// is_send(context::builder().user_id("u-1").enter());
/// ```
#[derive(Debug)]
#[must_use = "the scope ends when the guard is dropped, here at once"]
pub struct Entered {
    outer: Option<Arc<Frame>>,
    not_send: PhantomData<*const ()>,
}

impl Entered {
    /// Enters a scope with these keys, inside the one that is current.
    #[doc(hidden)]
    #[inline]
    pub fn child<const N: usize>(entries: [Entry; N]) -> Self {
        Self::new(Some(Frame::child(scope::current(), entries)))
    }

    /// Enters the scope of `frame`.
    #[inline]
    pub(crate) fn new(frame: Option<Arc<Frame>>) -> Self {
        Self { outer: scope::swap(frame), not_send: PhantomData }
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        scope::swap(self.outer.take());
    }
}

/// Runs futures and streams in a context: `future.in_current_context()`.
///
/// Nothing that is handed to another task or thread takes its context along by itself; see the guide
/// [concurrency](https://docs.rs/payi/latest/payi/guides/concurrency/). Closures: [`InContextFn`].
///
/// ```
/// # async fn call() {}
/// use payi_core::context::{self, InContext};
///
/// let later = context::builder().user_id("u-1").run(|| call().in_current_context());
/// // `later` is for u-1 wherever it is spawned, joined or awaited.
/// # drop(later);
/// ```
pub trait InContext<Kind>: Sized {
    /// What runs in the context.
    type InContext;

    /// Runs it in `context`, wherever that happens.
    fn in_context(self, context: &Context) -> Self::InContext;

    /// Runs it in the context that is current now, wherever that happens.
    fn in_current_context(self) -> Self::InContext {
        self.in_context(&Context::current())
    }
}

/// Says that the [`InContext`] of futures is meant.
#[derive(Debug)]
pub enum OfFuture {}

/// Says that the [`InContext`] of streams is meant.
#[derive(Debug)]
pub enum OfStream {}

impl<F: Future> InContext<OfFuture> for F {
    type InContext = Scoped<F>;

    fn in_context(self, context: &Context) -> Scoped<F> {
        context.scope(self)
    }
}

impl<S: Stream> InContext<OfStream> for S {
    type InContext = Scoped<S>;

    fn in_context(self, context: &Context) -> Scoped<S> {
        Scoped::new(context.frame.clone(), self)
    }
}

/// Runs closures in a context: `closure.in_current_context()`.
///
/// ```
/// use payi_core::context::{self, Context, InContextFn};
///
/// let read = || Context::current().user_id().map(String::from);
/// let carried = context::builder().user_id("u-1").run(|| read.in_current_context());
/// assert_eq!(std::thread::spawn(carried).join().unwrap().as_deref(), Some("u-1"));
/// ```
///
/// A closure with arguments, as rayon and iterators take it, calls [`Context::run`] inside.
pub trait InContextFn<R>: FnOnce() -> R + Sized {
    /// Runs it in `context`, wherever that happens.
    fn in_context(self, context: &Context) -> impl FnOnce() -> R + use<Self, R> {
        let context = context.clone();
        move || context.run(self)
    }

    /// Runs it in the context that is current now, wherever that happens.
    fn in_current_context(self) -> impl FnOnce() -> R + use<Self, R> {
        self.in_context(&Context::current())
    }
}

impl<F: FnOnce() -> R, R> InContextFn<R> for F {}
