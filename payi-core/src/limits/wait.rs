//! Waiting for a store on a thread that has nothing else to do.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context as Task, Poll, Wake, Waker},
};

use crate::limits::sync::{
    atomic::{AtomicBool, Ordering::Relaxed},
    thread::{self, Thread},
};

/// Wakes a thread.
struct Unpark(Thread, AtomicBool);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Relaxed);
        self.0.unpark();
    }
}

/// Waits for a store on this thread, which is ours.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let wake = Arc::new(Unpark(thread::current(), AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&wake));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Task::from_waker(&waker)) {
            return done;
        }
        while !wake.1.swap(false, Relaxed) {
            thread::park();
        }
    }
}
