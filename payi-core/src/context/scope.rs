//! Where the scope of the running code is kept, and how it is exchanged.

use std::{
    cell::Cell,
    mem::{self, ManuallyDrop},
    sync::Arc,
};

use crate::context::Frame;

thread_local! {
    /// Not released when the thread ends: a thread-local with something to release must be registered, and
    /// asked for its state at each access, which costs more than the exchange itself, and it cannot be
    /// reached while the thread winds down. Whoever brings a scope in takes it out again, so there is
    /// nothing to release, unless a thread ends inside a scope because its guard was forgotten: then one
    /// frame is lost.
    static CURRENT: Cell<ManuallyDrop<Option<Arc<Frame>>>> = const { Cell::new(ManuallyDrop::new(None)) };
}

/// Exchanges the running code's scope with what is in `slot`.
#[inline]
pub(crate) fn exchange(slot: &mut Option<Arc<Frame>>) {
    // Not `with` and a closure: that one is not inlined.
    let theirs = CURRENT.replace(ManuallyDrop::new(slot.take()));
    // The slot was just emptied: there is nothing to drop in it.
    mem::forget(mem::replace(slot, ManuallyDrop::into_inner(theirs)));
}

/// Puts `frame` in place of the running code's scope, and returns what was there.
#[inline]
pub(crate) fn swap(mut frame: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
    exchange(&mut frame);
    frame
}

/// The running code's scope.
#[inline]
pub(crate) fn current() -> Option<Arc<Frame>> {
    CURRENT.with(|current| {
        let frame = current.replace(ManuallyDrop::new(None));
        let copy = (*frame).clone();
        current.set(frame);
        copy
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_scope_can_be_read_while_the_thread_is_being_destroyed() {
        struct Last(mpsc::Sender<bool>);
        impl Drop for Last {
            fn drop(&mut self) {
                let before = swap(Some(Frame::child(None, [])));
                let inside = current().is_some();
                drop(swap(before));
                let _ = self.0.send(inside && current().is_none());
            }
        }
        thread_local!(static LAST: Cell<Option<Last>> = const { Cell::new(None) });
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || LAST.set(Some(Last(sender))));
        assert!(thread.join().is_ok());
        assert_eq!(receiver.recv(), Ok(true));
    }
}
