//! The ledger's housekeeping, beside the writer: folding, and letting go of what has had its time.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::{
    error::Result,
    ledger::{Housekeeping, Ledger, sweep},
    sink::{losses::LossReason, writer::Shared},
};

/// While there is something to fold, and while there is not.
const BUSY: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_millis(500);
/// Texts whose time is over are looked for this often.
const SWEEP: Duration = Duration::from_secs(60);

/// A ledger that has nothing but memory keeps at most this many single calls, some tens of megabytes.
const IN_MEMORY: i64 = 100_000;

/// The thread's work, until the writer is stopped.
pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ledger: Ledger,
    pub(crate) keep_prompts: Duration,
}

impl Keeper {
    pub(crate) fn run(self) {
        let housekeeping = Housekeeping::new(format!("keeper:{}", Uuid::now_v7()));
        let mut swept = None;
        let mut warned = false;
        while self.shared.stopping().is_none() {
            let worked = catch_unwind(AssertUnwindSafe(|| self.work(&housekeeping, &mut swept)));
            let nap = match worked {
                Ok(Ok(true)) => BUSY,
                Ok(Ok(false)) => IDLE,
                Ok(Err(error)) => {
                    if !std::mem::replace(&mut warned, true) {
                        crate::error::say!(warn, %error, "the ledger's rollups are behind; reports stay exact, but take longer");
                    }
                    IDLE
                }
                // Reports need no rollup to be right: rather none than a thread that panics for ever.
                Err(_) => return,
            };
            thread::park_timeout(nap);
        }
    }

    fn work(&self, housekeeping: &Housekeeping, swept: &mut Option<Instant>) -> Result<bool> {
        if swept.is_none_or(|at| at.elapsed() > SWEEP) {
            *swept = Some(Instant::now());
            sweep(&self.ledger, Some(self.keep_prompts))?;
        }
        let lost = self.ledger.trim_memory(IN_MEMORY)?;
        if lost > 0 {
            self.shared.queue.losses.add(LossReason::MemoryFull, lost);
        }
        housekeeping.fold(&self.ledger)
    }
}
