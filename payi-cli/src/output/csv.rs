//! CSV (RFC 4180), safe to open in a spreadsheet.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use payi_core::ledger::read::{Dimension, Drivers, Request, inert};

use crate::output::rows;

/// A report: one record per row, without the total. Where it is `shown` in a terminal, names have their control
/// characters escaped; in a file they are exact.
pub(crate) fn report(by: &[Dimension], report: &Drivers, shown: bool, out: &mut dyn Write) -> io::Result<()> {
    let heads = by.iter().map(|d| d.name()).chain(rows::FIGURES);
    record(out, heads.map(Cow::Borrowed))?;
    rows::all(report).try_for_each(|row| {
        let names = row.names.iter().map(|name| named(name.as_deref().unwrap_or(""), shown));
        record(out, names.chain(rows::figures(&row.figures).into_iter().map(Cow::Owned)))
    })
}

/// Attempts, one record each.
pub(crate) fn attempts(found: &[Request], shown: bool, out: &mut dyn Write) -> io::Result<()> {
    record(out, rows::ATTEMPT.map(Cow::Borrowed))?;
    found.iter().try_for_each(|row| cells(&rows::attempt(row), rows::ATTEMPT_NAMES, shown, out))
}

/// A record whose first `names` cells come from outside.
pub(crate) fn cells(cells: &[String], names: usize, shown: bool, out: &mut dyn Write) -> io::Result<()> {
    let cells = cells.iter().enumerate();
    record(
        out,
        cells.map(|(i, cell)| if i < names { named(cell, shown) } else { Cow::Borrowed(cell.as_str()) }),
    )
}

fn named(name: &str, shown: bool) -> Cow<'_, str> {
    let name = harmless(name);
    if shown { Cow::Owned(inert(&name)) } else { name }
}

fn record<'a>(out: &mut dyn Write, cells: impl IntoIterator<Item = Cow<'a, str>>) -> io::Result<()> {
    for (i, cell) in cells.into_iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        if cell.contains(['"', ',', '\n', '\r']) {
            write!(out, "{comma}\"{}\"", cell.replace('"', "\"\""))?;
        } else {
            write!(out, "{comma}{cell}")?;
        }
    }
    // RFC 4180 says CRLF, and every reader takes it.
    out.write_all(b"\r\n")
}

/// A text from outside that a spreadsheet would take for a formula gets an apostrophe in front, which
/// spreadsheets read as "this is text".
fn harmless(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn formulas_become_text_and_other_ids_stay_as_they_are() {
        for (id, cell) in [
            ("=cmd()", "'=cmd()"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
        ] {
            assert_eq!(harmless(id), cell);
        }
        for id in ["u-1", "a=b", "", "josé@example.org"] {
            assert_eq!(harmless(id), id);
        }
    }
}
