//! Stands for `payi_core::context`: its guard and its wrapper, on a modelled thread-local.

#[path = "../../../../payi-core/src/context/forward.rs"]
mod forward;
#[path = "../../../../payi-core/src/context/guard.rs"]
pub mod guard;
#[path = "../../../../payi-core/src/context/scoped.rs"]
pub mod scoped;

use std::sync::Arc;

pub use scoped::Scoped;

/// One key, which is the user.
pub type Entry = u32;

#[derive(Debug)]
pub struct Frame(pub u32);

impl Frame {
    pub fn child<const N: usize>(_: Option<Arc<Self>>, entries: [Entry; N]) -> Arc<Self> {
        Arc::new(Self(entries.first().copied().unwrap_or_default()))
    }
}

#[derive(Clone, Default)]
pub struct Context {
    pub frame: Option<Arc<Frame>>,
}

impl Context {
    pub fn current() -> Self {
        Self { frame: scope::current() }
    }

    pub fn scope<F: Future>(&self, future: F) -> Scoped<F> {
        Scoped::new(self.frame.clone(), future)
    }

    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }
}

pub mod scope {
    use std::{cell::RefCell, mem, sync::Arc};

    use super::Frame;

    shuttle::thread_local! {
        static CURRENT: RefCell<Option<Arc<Frame>>> = RefCell::new(None);
    }

    pub(crate) fn exchange(slot: &mut Option<Arc<Frame>>) {
        // Others may run between any two accesses of a thread-local.
        shuttle::thread::yield_now();
        CURRENT.with(|current| mem::swap(&mut *current.borrow_mut(), slot));
    }

    pub(crate) fn swap(mut frame: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
        exchange(&mut frame);
        frame
    }

    pub(crate) fn current() -> Option<Arc<Frame>> {
        CURRENT.with(|current| current.borrow().clone())
    }
}

pub mod spare {
    pub(crate) fn left<T>(_: T) {}
}
