//! The embedded SQLite ledger: facts, and the reports read from them.
