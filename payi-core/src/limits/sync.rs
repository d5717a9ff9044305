//! What the limits' threads share and wait by, named in one place: a scheduler that tries interleavings can take
//! its stead, and run the very files beside this one.

pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread,
    time::Instant,
};

/// The machine's clock.
pub(crate) fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
