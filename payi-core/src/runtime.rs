//! Starting payi: settings, the ledger, the sinks, and the guard that ends it all.
