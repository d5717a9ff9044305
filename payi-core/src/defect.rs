//! Defects of our own where we work for a caller: they go no further.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Something of ours has panicked, and what it was at is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Defect;

/// Does `work`, a panic in which is a defect of ours.
#[inline]
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Defect> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_panic| Defect)
}
