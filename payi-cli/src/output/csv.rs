//! Reports as CSV (RFC 4180), safe to open in a spreadsheet.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use payi_core::ledger::{UsersReport, read::inert};

use crate::output::json::timestamp;

const HEADINGS: [&str; 17] = [
    "user_id",
    "account_name",
    "calls_ok",
    "calls_failed",
    "calls_aborted",
    "calls_blocked",
    "calls_abandoned",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
    "unpriced_calls",
    "attempts",
    "first_seen",
    "last_seen",
];

/// Into a terminal, names are shown with their control characters escaped; into a file they are exact.
pub(crate) fn users(report: &UsersReport, shown: bool, out: &mut dyn Write) -> io::Result<()> {
    record(out, HEADINGS.map(Cow::Borrowed))?;
    for row in &report.rows {
        let (totals, calls, tokens) = (&row.totals, &row.totals.calls, &row.totals.tokens);
        let at = |at: Option<_>| at.and_then(timestamp).map_or(String::new(), |at| at.to_string());
        let figures = [
            calls.ok.to_string(),
            calls.failed.to_string(),
            calls.aborted.to_string(),
            calls.blocked.to_string(),
            calls.abandoned.to_string(),
            tokens.input.to_string(),
            tokens.cache_read.to_string(),
            tokens.cache_write.to_string(),
            tokens.output.to_string(),
            tokens.reasoning.to_string(),
            totals.cost.to_string(),
            totals.unpriced_calls.to_string(),
            totals.attempts.to_string(),
            at(totals.first_seen),
            at(totals.last_seen),
        ];
        let names = [row.user_id.as_deref(), row.account_name.as_deref()].map(|name| {
            let name = harmless(name.unwrap_or(""));
            if shown { Cow::Owned(inert(&name)) } else { name }
        });
        record(out, names.into_iter().chain(figures.into_iter().map(Cow::Owned)))?;
    }
    Ok(())
}

/// A record whose first `names` cells come from outside.
pub(crate) fn record_of(out: &mut dyn Write, cells: &[String], names: usize) -> io::Result<()> {
    let cells = cells.iter().enumerate();
    record(out, cells.map(|(i, cell)| if i < names { harmless(cell) } else { Cow::Borrowed(cell.as_str()) }))
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
