//! `payi delivery`: what deliverers have set aside because its place refused it, for a person to look at and decide.

#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "the method by itself is not general enough over its lifetime"
)]

use std::io::Write;

use payi_core::ledger::Ledger;

use crate::{Failure, args::DeliveryCommand, output::plural};

/// How much of the quarantine is listed.
const SHOWN: usize = 20;

pub(crate) fn run(command: &DeliveryCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        DeliveryCommand::Status { file } => status(&file.read()?, out)?,
        DeliveryCommand::Retry { file, deliverer } => {
            let ledger = file.write()?;
            for name in named(&ledger, deliverer.as_deref())? {
                writeln!(
                    out,
                    "{name}: {} to be tried again",
                    plural(ledger.retry_quarantined(&name)? as u64, "event")
                )?;
            }
        }
        DeliveryCommand::Drop { file, deliverer } => {
            let ledger = file.write()?;
            for name in named(&ledger, deliverer.as_deref())? {
                writeln!(
                    out,
                    "{name}: {} given up, and still in the ledger",
                    plural(ledger.drop_quarantined(&name)? as u64, "event")
                )?;
            }
        }
    }
    Ok(out.flush()?)
}

/// The deliverers of the ledger, or the one that was named.
fn named(ledger: &Ledger, only: Option<&str>) -> Result<Vec<String>, Failure> {
    let known: Vec<String> = ledger.view(|view| view.health())?.deliverers.into_iter().map(|d| d.0).collect();
    match only {
        None => Ok(known),
        Some(name) if known.iter().any(|known| known == name) => Ok(vec![name.into()]),
        Some(name) => {
            Err(Failure::Misuse(format!("there is no deliverer {name}; there is: {}", known.join(", "))))
        }
    }
}

fn status(ledger: &Ledger, out: &mut dyn Write) -> Result<(), Failure> {
    let health = ledger.view(|view| view.health())?;
    if health.deliverers.is_empty() {
        writeln!(out, "nothing is delivered from this ledger")?;
    }
    for (name, behind, aside) in &health.deliverers {
        writeln!(out, "{name}: {} to go, {aside} set aside", plural(*behind, "event"))?;
        for event in ledger.quarantined(name, SHOWN)? {
            writeln!(
                out,
                "  event {}: {} (tried {})",
                event.seq,
                event.reason,
                plural(event.attempts.into(), "time")
            )?;
        }
        if *aside > SHOWN as u64 {
            writeln!(out, "  and {} more", aside - SHOWN as u64)?;
        }
    }
    Ok(())
}
