//! Frames whose scopes have been left, for the next scopes of the same thread: most scopes are entered and
//! left many times, and this saves all of them the allocator.
//!
//! A frame comes here only if nobody else has it, and without anything it said.

use std::{cell::Cell, sync::Arc};

use crate::context::Frame;

/// How many are kept for each thread: scopes nested deeper than that are rare.
const MOST: u16 = 16;

thread_local! {
    /// The first of them; each is the parent of the one before, and `depth` says how many there are from here on.
    static FIRST: Cell<Option<Arc<Frame>>> = const { Cell::new(None) };
}

/// A frame that nobody else has, made to say what `say` makes it say.
#[inline]
pub(super) fn next(say: impl FnOnce(&mut Frame)) -> Arc<Frame> {
    let mut next = FIRST.try_with(Cell::take).ok().flatten().unwrap_or_else(make);
    if let Some(frame) = Arc::get_mut(&mut next) {
        let second = frame.take_spare();
        if second.is_some() {
            let _ = FIRST.try_with(|first| first.set(second));
        }
        say(frame);
    }
    next
}

#[cold]
#[inline(never)]
fn make() -> Arc<Frame> {
    Arc::new(Frame::blank())
}

/// Takes a frame back that its scope has left, if nobody else has it.
#[inline]
pub(crate) fn left(mut left: Arc<Frame>) {
    // On a thread that is ending it is dropped instead.
    let _ = FIRST.try_with(move |first| {
        let Some(frame) = Arc::get_mut(&mut left) else { return };
        if !frame.is_small() {
            return;
        }
        let next = first.take();
        let spares = next.as_ref().map_or(0, |next| next.spares());
        if spares >= MOST {
            first.set(next);
            return;
        }
        frame.become_spare(next, spares + 1);
        first.set(Some(left));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Context, current, entry::literal, guard};

    fn scope(seen: impl FnOnce()) {
        let _guard = guard::enter([literal::user_id("ann"), literal::use_case_name("chat")]);
        seen();
    }

    #[test]
    fn a_frame_that_is_used_again_says_nothing_of_before() {
        let mut first = None;
        scope(|| first = current().use_case_id());
        let _guard = guard::enter([literal::account_name("acme")]);
        let context = current();
        assert_eq!((context.user_id(), context.use_case_name(), context.use_case_id()), (None, None, None));
        scope(|| assert!(current().use_case_id().is_some_and(|id| Some(id) != first)));
    }

    #[test]
    fn a_frame_that_somebody_keeps_is_not_used_again() {
        let mut kept = Context::default();
        scope(|| kept = current());
        for _ in 0..3 {
            let _guard = guard::enter([literal::user_id("bob"), literal::use_case_name("sum")]);
            assert_eq!(kept.user_id().as_deref(), Some("ann"));
            assert_eq!(current().user_id().as_deref(), Some("bob"));
        }
    }

    #[test]
    fn no_more_are_kept_than_there_is_use_for() {
        let mut guards: Vec<_> = (0..60).map(|_| guard::enter([literal::user_id("ann")])).collect();
        while guards.pop().is_some() {}
        let kept = FIRST.take();
        assert_eq!(kept.map(|first| first.spares()), Some(MOST));
    }
}
