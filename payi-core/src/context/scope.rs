//! Where the scope of the running code is kept, and how it is swapped.

use std::{cell::Cell, mem::ManuallyDrop, sync::Arc};

use crate::context::Frame;

/// A reference that the thread does not release when it ends.
///
/// A thread-local with something to release must be registered and asked for its state at each access,
/// which costs more than the swap itself, and cannot be reached while the thread winds down. Whoever
/// swaps a scope in swaps it out again, so there is nothing to release, unless a thread ends inside a
/// scope because its guard was forgotten: then one frame is lost.
type Unregistered = ManuallyDrop<Arc<Frame>>;

thread_local! {
    static CURRENT: Cell<Option<Unregistered>> = const { Cell::new(None) };
}

/// Puts `frame` in place of the running code's scope, and returns what was there.
#[inline]
pub(crate) fn swap(frame: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
    CURRENT.with(|current| current.replace(frame.map(ManuallyDrop::new)).map(ManuallyDrop::into_inner))
}

/// The running code's scope.
#[inline]
pub(crate) fn current() -> Option<Arc<Frame>> {
    CURRENT.with(|current| {
        let frame = current.take().map(ManuallyDrop::into_inner);
        current.set(frame.clone().map(ManuallyDrop::new));
        frame
    })
}
