//! Where a courier's events come from.

use crate::{Result, sink::deliver::Pending};

/// Events in order, and a cursor over them.
pub(crate) trait Source: Send {
    /// Whether this courier is the one to deliver: of several processes on one ledger, one is.
    fn claim(&mut self) -> Result<bool>;

    /// Lets another process deliver.
    fn release(&mut self);

    /// Up to `limit` events after number `after`, in order.
    fn after(&self, after: i64, limit: usize) -> Result<Vec<Pending>>;

    /// The number that the cursor is at.
    fn cursor(&self) -> Result<i64>;

    /// Moves the cursor; `false` if another courier has taken over.
    fn advance(&mut self, seq: i64) -> Result<bool>;

    /// The number of the newest event.
    fn newest(&self) -> Result<i64>;

    /// Sets an event aside; `reason` is a short code.
    fn quarantine(&mut self, seq: i64, reason: &str) -> Result<()>;

    /// Some of the events that were set aside and that somebody has asked to try again, oldest first.
    fn again(&self) -> Result<Vec<Pending>> {
        Ok(Vec::new())
    }

    /// An event that was set aside has been placed after all.
    fn placed_again(&mut self, seq: i64) -> Result<()> {
        let _ = seq;
        Ok(())
    }

    /// Claims ids for the events of these numbers; for each, whether another event has it.
    fn are_taken(&self, ids: &[(&str, i64)]) -> Vec<bool>;
}

#[cfg(feature = "ledger")]
pub(crate) use of_ledger::OfLedger;

#[cfg(feature = "ledger")]
mod of_ledger {
    use std::time::{Duration, Instant};

    use uuid::Uuid;

    use super::{Pending, Result, Source};
    use crate::ledger::{Lease, Ledger, StoredEvent};

    /// How long a process that died keeps others from delivering.
    const LEASE: Duration = Duration::from_secs(20);

    /// How long a lease is taken to be fresh.
    const RENEW: Duration = Duration::from_secs(5);

    /// How many events are taken out of quarantine at once.
    const AGAIN: usize = 16;

    fn pending(stored: StoredEvent, again: bool) -> Pending {
        Pending { seq: stored.seq, who: stored.who, event: stored.event, again }
    }

    /// The ledger as a source.
    #[derive(Debug)]
    pub(crate) struct OfLedger {
        ledger: Ledger,
        deliverer: &'static str,
        lease_name: String,
        owner: String,
        lease: Option<Lease>,
        renewed: Instant,
    }

    impl OfLedger {
        /// Follows `ledger` from where `deliverer` was last, at first from its end.
        pub(crate) fn new(ledger: Ledger, deliverer: &'static str) -> Result<Self> {
            ledger.register(deliverer, false)?;
            let lease_name = format!("deliver:{deliverer}");
            let owner = format!("{}-{}", std::process::id(), Uuid::new_v4());
            Ok(Self { ledger, deliverer, lease_name, owner, lease: None, renewed: Instant::now() })
        }
    }

    impl Source for OfLedger {
        fn claim(&mut self) -> Result<bool> {
            // A lease that is still fresh costs no write: the cursor is fenced, whatever became of it.
            if self.lease.is_some() && self.renewed.elapsed() < RENEW {
                return Ok(true);
            }
            self.lease = self.ledger.lease(&self.lease_name, &self.owner, LEASE)?;
            self.renewed = Instant::now();
            Ok(self.lease.is_some())
        }

        fn release(&mut self) {
            if let Some(lease) = self.lease.take() {
                // If this fails the lease runs out by itself.
                let _ = self.ledger.release(&lease);
            }
        }

        fn after(&self, after: i64, limit: usize) -> Result<Vec<Pending>> {
            let stored = self.ledger.follow(after, limit)?;
            Ok(stored.into_iter().map(|it| pending(it, false)).collect())
        }

        fn cursor(&self) -> Result<i64> {
            self.ledger.cursor(self.deliverer)
        }

        fn advance(&mut self, seq: i64) -> Result<bool> {
            let Some(lease) = &self.lease else { return Ok(false) };
            let ours = self.ledger.set_cursor(lease, self.deliverer, seq)?;
            if !ours {
                self.lease = None;
            }
            Ok(ours)
        }

        fn newest(&self) -> Result<i64> {
            self.ledger.last_seq()
        }

        fn quarantine(&mut self, seq: i64, reason: &str) -> Result<()> {
            self.ledger.quarantine(self.deliverer, seq, reason)
        }

        fn again(&self) -> Result<Vec<Pending>> {
            let stored = self.ledger.to_retry(self.deliverer, AGAIN)?;
            Ok(stored.into_iter().map(|it| pending(it, true)).collect())
        }

        fn placed_again(&mut self, seq: i64) -> Result<()> {
            self.ledger.release_quarantined(self.deliverer, seq).map(drop)
        }

        fn are_taken(&self, ids: &[(&str, i64)]) -> Vec<bool> {
            // An id that cannot be looked up is not trusted to be fresh.
            let own = self.ledger.claim_response_ids(ids).unwrap_or_default();
            (0..ids.len()).map(|i| own.get(i) != Some(&true)).collect()
        }
    }
}
