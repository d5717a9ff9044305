//! Writes a ledger with the shape of real use, to look at: `cargo run -p payi-cli --example workload -- demo.db 20000`.

use std::time::SystemTime;

use payi_core::testing::{Workload, workload_ledger};

fn main() {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| "demo.db".into());
    let events = args.next().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let users = args.next().and_then(|n| n.parse().ok()).unwrap_or(400);
    workload_ledger(&path, Workload { events, users, days: 60, until: SystemTime::now() });
    println!("{path}: {events} attempts");
}
