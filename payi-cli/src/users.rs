//! `payi users`.

use std::io::Write;

use payi_core::ledger::read::users_table;

use crate::{
    Failure,
    args::{Format, Users},
    output::{Terminal, csv, json},
};

pub(crate) fn run(args: &Users, terminal: Option<Terminal>, out: &mut dyn Write) -> Result<(), Failure> {
    let ledger = args.file.read()?;
    let mut filter = args.narrow.filter().sort(args.sort.into());
    filter.limit = args.top;
    let report = ledger.users(&filter)?;
    match args.format {
        Format::Table => {
            let table = users_table(&report, terminal.and_then(|terminal| terminal.width));
            let plain = terminal.is_none_or(|terminal| !terminal.color);
            out.write_all(if plain { table } else { crate::output::emphasised(&table) }.as_bytes())?;
        }
        Format::Json => json::users(&report, out)?,
        Format::Csv => csv::users(&report, terminal.is_some(), out)?,
    }
    Ok(out.flush()?)
}
