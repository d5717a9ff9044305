//! Writes a ledger with the shape of real use, to look at: `cargo run -p payi-cli --example workload -- demo.db 20000`.

use payi_core::testing::{Load, load_ledger};

fn main() -> payi_core::Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| "demo.db".into());
    let mut load = Load::default();
    load.events = args.next().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    load.users = args.next().and_then(|n| n.parse().ok()).unwrap_or(400);
    load.days = 60;
    let loaded = load_ledger(&path, &load)?;
    println!("{path}: {} attempts", loaded.facts);
    Ok(())
}
