//! What was lost, by reason: the counters behind "nothing is lost silently".

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::events::TOO_LATE;

/// Why an event is not in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossReason {
    /// More events came at once than the queue holds and the disk takes.
    QueueFull,
    /// It came after the writer had been shut down.
    AfterShutdown,
    /// It was taken, but the ledger could not be written before the deadline of the shutdown.
    Unwritten,
    /// It is older than what has been pruned; it could not be told from a duplicate.
    TooLate,
    /// The ledger, or what waits to be delivered, is in memory alone, and full.
    MemoryFull,
    /// Reading its answer, or writing it, panicked; a defect of payi.
    Defect,
}

impl LossReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::QueueFull,
        Self::AfterShutdown,
        Self::Unwritten,
        Self::TooLate,
        Self::MemoryFull,
        Self::Defect,
    ];

    /// Its name in the ledger and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::AfterShutdown => "after_shutdown",
            Self::Unwritten => "unwritten",
            Self::TooLate => TOO_LATE,
            Self::MemoryFull => "memory_full",
            Self::Defect => "defect",
        }
    }
}

/// Counters of one process. Adding is one relaxed increment.
#[derive(Debug, Default)]
pub(crate) struct Losses([AtomicU64; LossReason::ALL.len()]);

impl Losses {
    pub(crate) fn add(&self, reason: LossReason, count: u64) {
        self.0[reason as usize].fetch_add(count, Relaxed);
    }

    pub(crate) fn get(&self, reason: LossReason) -> u64 {
        self.0[reason as usize].load(Relaxed)
    }

    /// The counts of all reasons, in their order.
    pub(crate) fn all(&self) -> [u64; LossReason::ALL.len()] {
        LossReason::ALL.map(|reason| self.get(reason))
    }
}
