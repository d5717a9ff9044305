//! Limits, tested against models of them.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use crate::limits::{MemoryStore, conformance};

#[test]
fn the_store_in_memory_keeps_the_contract() {
    conformance::suite(&|| Arc::new(MemoryStore::new()));
}

#[cfg(feature = "ledger")]
#[test]
fn the_ledger_keeps_the_contract() {
    use crate::ledger::{Ledger, LedgerStore};
    conformance::suite(&|| Arc::new(LedgerStore::new(Ledger::in_memory().unwrap())));
}
