//! `payi ledger`.

use std::{
    fs,
    io::{self, BufRead, BufReader, BufWriter, Write},
};

use crate::{
    Failure,
    args::LedgerCommand,
    output::{json::timestamp, plural},
};

pub(crate) fn run(command: &LedgerCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        LedgerCommand::Prune { file, before } => {
            let pruned = file.write()?.prune(*before)?;
            let day =
                timestamp(pruned.before).map_or_else(String::new, |at| at.strftime("%Y-%m-%d").to_string());
            writeln!(
                out,
                "{} begun before {day} (UTC) deleted; totals stay",
                plural(pruned.facts, "attempt")
            )?;
            if pruned.kept > 0 {
                writeln!(out, "{} kept until every deliverer has seen them", plural(pruned.kept, "attempt"))?;
            }
        }
        LedgerCommand::Export { file, user } => {
            let mut buffered = BufWriter::new(&mut *out);
            file.read()?.export(user.as_deref(), &mut buffered)?;
            buffered.flush()?;
        }
        LedgerCommand::Import { file, from } => {
            let input: Box<dyn BufRead> = if from.as_os_str() == "-" {
                Box::new(BufReader::new(io::stdin()))
            } else {
                let opened = fs::File::open(from);
                Box::new(BufReader::new(
                    opened.map_err(|e| Failure::Misuse(format!("{} cannot be read: {e}", from.display())))?,
                ))
            };
            let done = file.make()?.import(input)?;
            writeln!(out, "{} written, {} there already", plural(done.written, "event"), done.known)?;
            if done.too_late > 0 {
                writeln!(out, "{} refused: they are older than what has been pruned", done.too_late)?;
            }
        }
        LedgerCommand::Forget { file, user } => {
            let done = file.write()?.forget(user)?;
            writeln!(out, "{} of theirs without a name from now on", plural(done.attempts, "attempt"))?;
            for (deliverer, ids) in &done.delivered {
                writeln!(out, "{} of them went to {deliverer}; ask there to have these erased:", ids.len())?;
                for id in ids {
                    writeln!(out, "  {id}")?;
                }
            }
            if !done.overwritten {
                writeln!(
                    out,
                    "another process has the file open: the last copy goes with its next checkpoint"
                )?;
            }
        }
        LedgerCommand::Check { file } => {
            let found = file.write()?.check()?;
            for problem in &found.problems {
                writeln!(out, "wrong: {problem}")?;
            }
            let pruned = if found.pruned { "; pruned, so rollups were not compared" } else { "" };
            writeln!(
                out,
                "{}, {} of the chain verified, {} not in a run yet{pruned}",
                plural(found.facts, "fact"),
                plural(found.runs, "run"),
                plural(found.unchained, "fact")
            )?;
            if !found.problems.is_empty() {
                return Err(Failure::Found);
            }
        }
    }
    Ok(out.flush()?)
}
