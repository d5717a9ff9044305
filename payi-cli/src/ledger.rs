//! `payi ledger`: what an operator does to the file itself, and what each deed leaves behind: totals of what was pruned,
//! a person's events at a deliverer, a copy in the file.

use std::{
    fs,
    io::{self, BufReader, BufWriter, Read, Write},
};

use crate::{
    Failure,
    args::LedgerCommand,
    output::{plural, progress, rows::timestamp},
};

pub(crate) fn run(command: &LedgerCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        LedgerCommand::Prune { file, before } => {
            let going = progress::spinner("pruning");
            let pruned = file.write()?.prune(*before)?;
            drop(going);
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
            let going = progress::bytes("exporting", None);
            let mut buffered = BufWriter::new(going.writing(&mut *out));
            file.read()?.export(user.as_deref(), &mut buffered)?;
            buffered.flush()?;
        }
        LedgerCommand::Import { file, from } => {
            let (input, length): (Box<dyn Read>, _) = if from.as_os_str() == "-" {
                (Box::new(io::stdin()), None)
            } else {
                let opened = fs::File::open(from)
                    .map_err(|e| Failure::Misuse(format!("{} cannot be read: {e}", from.display())))?;
                let length = opened.metadata().ok().map(|about| about.len());
                (Box::new(opened), length)
            };
            let going = progress::bytes("importing", length);
            let done = file.make()?.import(BufReader::new(going.reading(input)))?;
            drop(going);
            writeln!(out, "{} written, {} there already", plural(done.written, "event"), done.known)?;
            if done.too_late > 0 {
                writeln!(out, "{} refused: they are older than what has been pruned", done.too_late)?;
            }
        }
        LedgerCommand::Forget { file, user } => {
            let going = progress::spinner("erasing");
            let done = file.write()?.forget(user)?;
            drop(going);
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
                    "a copy may be left in the file: another process was at work on it, or the disk is full; run this once more"
                )?;
            }
        }
        LedgerCommand::Check { file } => {
            let going = progress::spinner("checking");
            let found = file.write()?.check()?;
            drop(going);
            for problem in &found.problems {
                writeln!(out, "wrong: {problem}")?;
            }
            let verdict = match found.problems.len() {
                0 => "nothing is wrong".to_owned(),
                1 => "one thing is wrong".to_owned(),
                problems => format!("{problems} things are wrong"),
            };
            let pruned = if found.pruned { "; pruned, so rollups were not compared" } else { "" };
            writeln!(
                out,
                "{verdict}: {}, {} of the chain verified, {} not in a run yet{pruned}",
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
