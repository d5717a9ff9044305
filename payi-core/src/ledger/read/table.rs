//! Tables for a terminal; the per-user one among them.

use std::{fmt, ops::Range, time::SystemTime};

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr as _;

use crate::ledger::{
    CallSite,
    read::{Totals, UsersReport},
};

const HEADINGS: [&str; 10] = [
    "USER",
    "ACCOUNT",
    "OK",
    "FAILED",
    "ABORTED",
    "INPUT",
    "CACHED",
    "OUTPUT",
    "COST (USD)",
    "LAST SEEN (UTC)",
];

/// Columns that hold names and read from the left.
const NAMES: Range<usize> = 0..2;

/// The table of a report, in at most `width` columns of text: long names are cut, figures never.
pub fn users_table(report: &UsersReport, width: Option<usize>) -> String {
    let attributed = report.rows.iter().filter(|row| row.user_id.is_some());
    let unattributed = report.rows.iter().filter(|row| row.user_id.is_none());
    let amounts = Amounts::of(report.rows.iter().map(|row| &row.totals).chain([&report.total]));
    let mut rows: Vec<Vec<String>> = vec![HEADINGS.map(Into::into).into()];
    for row in attributed.chain(unattributed) {
        let user = row.user_id.as_deref().map_or_else(|| "(Unattributed)".into(), inert);
        rows.push(cells(
            user,
            row.account_name.as_deref().map_or_else(|| "-".into(), inert),
            &row.totals,
            amounts,
        ));
    }
    rows.push(cells("TOTAL".into(), String::new(), &report.total, amounts));
    let mut table = text_table(&rows, NAMES, true, width);
    for note in footnotes(&report.total, &report.call_sites) {
        table.push_str(&note);
        table.push('\n');
    }
    table
}

fn cells(user: String, account: String, totals: &Totals, amounts: Amounts) -> Vec<String> {
    let utc = |at| {
        Timestamp::try_from(at)
            .map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
    };
    [user, account].into_iter().chain(amounts.row(totals, utc)).collect()
}

/// How every amount of a table is written, so that their decimal points stand below each other.
#[derive(Clone, Copy, Debug)]
pub struct Amounts {
    /// At least six; as many as the longest amount needs.
    decimals: usize,
    /// Whether some amount is marked as incomplete.
    marked: bool,
}

impl Amounts {
    /// For a table of these rows, the total among them.
    pub fn of<'t>(all: impl IntoIterator<Item = &'t Totals>) -> Self {
        let none = Self { decimals: 6, marked: false };
        all.into_iter().fold(none, |amounts, totals| Self {
            decimals: amounts
                .decimals
                .max(totals.cost.to_string().split_once('.').map_or(0, |(_, digits)| digits.len())),
            marked: amounts.marked || totals.unpriced_calls > 0,
        })
    }

    /// What a row says after its names: calls that ended well, failed and were aborted; tokens read afresh, from or to a
    /// cache, and written; the cost; and when it was last seen, as `moment` writes it.
    pub fn row(self, totals: &Totals, moment: impl FnOnce(SystemTime) -> String) -> [String; 8] {
        let (calls, tokens) = (&totals.calls, &totals.tokens);
        [
            group(calls.ok),
            group(calls.failed),
            group(calls.aborted),
            group(tokens.input),
            group(tokens.cache_read + tokens.cache_write),
            group(tokens.output + tokens.reasoning),
            self.write(totals),
            totals.last_seen.map_or_else(String::new, moment),
        ]
    }

    /// The cost of a row: every digit, and `*` if some of its calls have no known price.
    pub fn write(self, totals: &Totals) -> String {
        let text = totals.cost.to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let mark = match (self.marked, totals.unpriced_calls) {
            (false, _) => "",
            (true, 0) => " ",
            (true, _) => "*",
        };
        format!("{whole}.{fraction:0<width$}{mark}", width = self.decimals)
    }
}

/// What has to be said below a table of such a total and, where all calls are in it, of such lines of code.
pub fn footnotes(totals: &Totals, call_sites: &[CallSite]) -> Vec<String> {
    let mut notes = Vec::new();
    if totals.unpriced_calls > 0 {
        notes.push(format!("* without {} of unknown price", plural(totals.unpriced_calls, "call")));
    }
    if totals.calls.blocked > 0 {
        notes.push(format!("{} refused by a limit", plural(totals.calls.blocked, "call")));
    }
    if totals.calls.abandoned > 0 {
        notes.push(format!("{} abandoned: their process died", plural(totals.calls.abandoned, "call")));
    }
    for site in call_sites {
        let place = site.location.as_deref().map_or_else(|| "a client that does not say where".into(), inert);
        notes.push(format!("{} without {}: {place}", plural(site.calls, "call"), inert(&site.missing)));
    }
    let calls = totals.calls.total();
    if totals.attempts > calls {
        notes.push(format!(
            "{} in {}: a retried call counts once, by its last attempt",
            plural(totals.attempts, "attempt"),
            plural(calls, "call")
        ));
    }
    notes
}

fn plural(n: u64, what: &str) -> String {
    format!("{} {what}{}", group(n), if n == 1 { "" } else { "s" })
}

/// Rows in columns, the heading first and, if there is a `footer`, the total last, each behind a rule. The
/// columns `names` read from the left, the others from the right. In at most `width` columns of text where that
/// can be had by cutting names, down to eight; the others are never cut.
///
/// ```
/// let rows = [["USER", "CALLS"], ["ada", "3"]].map(|row| row.map(String::from).to_vec());
/// let table = payi_core::ledger::read::text_table(&rows, 0..1, false, None);
/// assert_eq!(table, "USER  CALLS\n───────────\nada       3\n");
/// ```
pub fn text_table(rows: &[Vec<String>], names: Range<usize>, footer: bool, width: Option<usize>) -> String {
    let mut widths = widths(rows);
    if let Some(most) = width {
        shrink(&mut widths, &names, most);
    }
    let rule = "─".repeat(full(&widths)) + "\n";
    let mut out = String::new();
    for (i, row) in rows.iter().enumerate() {
        if i == 1 || (footer && i > 0 && i + 1 == rows.len()) {
            out.push_str(&rule);
        }
        out.push_str(line(row, &names, &widths).trim_end());
        out.push('\n');
    }
    out
}

/// How wide each column is.
fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    widths
}

/// How wide a table of such columns is.
fn full(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)
}

fn line(row: &[String], names: &Range<usize>, widths: &[usize]) -> String {
    let mut line = String::new();
    for (i, (cell, &width)) in row.iter().zip(widths).enumerate() {
        let cell = cut(cell, width);
        let pad = " ".repeat(width.saturating_sub(cell.width()));
        let gap = if i == 0 { "" } else { "  " };
        let (before, after) = if names.contains(&i) { ("", pad.as_str()) } else { (pad.as_str(), "") };
        line.push_str(&[gap, before, &cell, after].concat());
    }
    line
}

/// Takes what is too much from the names, the longest first, down to eight columns each.
fn shrink(widths: &mut [usize], names: &Range<usize>, most: usize) {
    for _ in 0..full(widths).saturating_sub(most) {
        let longest = widths.iter_mut().take(names.end).skip(names.start).rev().max_by_key(|width| **width);
        if let Some(width) = longest.filter(|width| **width > 8) {
            *width -= 1;
        }
    }
}

fn cut(cell: &str, width: usize) -> String {
    if cell.width() <= width {
        return cell.into();
    }
    let mut out = String::new();
    for c in cell.chars() {
        if out.width() + c.to_string().width() + 1 > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// A text from outside, with nothing in it that a terminal would act upon.
pub fn inert(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let acts = c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
            let escaped: Box<dyn Iterator<Item = char>> =
                if acts { Box::new(c.escape_default()) } else { Box::new(std::iter::once(c)) };
            escaped
        })
        .collect()
}

/// `1234567` → `1,234,567`.
pub fn group(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl fmt::Display for UsersReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&users_table(self, None))
    }
}
