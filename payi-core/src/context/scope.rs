//! Where the scope of the running code is kept, and how it is swapped.

use std::{cell::Cell, sync::Arc};

use crate::context::Frame;

thread_local! {
    static CURRENT: Cell<Option<Arc<Frame>>> = const { Cell::new(None) };
}

/// Puts `frame` in place of the running code's scope, and returns what was there.
///
/// Does nothing on a thread whose thread-locals are gone.
pub(crate) fn swap(frame: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
    CURRENT.try_with(|current| current.replace(frame)).unwrap_or(None)
}

/// The running code's scope.
pub(crate) fn current() -> Option<Arc<Frame>> {
    CURRENT
        .try_with(|current| {
            let frame = current.take();
            current.set(frame.clone());
            frame
        })
        .unwrap_or(None)
}
