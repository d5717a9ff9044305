//! The per-user table, for a terminal.

use std::fmt;

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr as _;

use crate::ledger::read::{Totals, UsersReport};

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
const NAMES: usize = 2;

/// The table of a report, in at most `width` columns of text: long names are cut, figures never.
pub fn users_table(report: &UsersReport, width: Option<usize>) -> String {
    let attributed = report.rows.iter().filter(|row| row.user_id.is_some());
    let unattributed = report.rows.iter().filter(|row| row.user_id.is_none());
    let amounts = Amounts::of(report);
    let mut rows: Vec<[String; 10]> = vec![HEADINGS.map(Into::into)];
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
    let mut table = lay_out(&mut rows, width);
    notes(report, &mut table);
    table
}

fn cells(user: String, account: String, totals: &Totals, amounts: Amounts) -> [String; 10] {
    let calls = &totals.calls;
    let tokens = &totals.tokens;
    [
        user,
        account,
        group(calls.ok),
        group(calls.failed),
        group(calls.aborted),
        group(tokens.input),
        group(tokens.cache_read + tokens.cache_write),
        group(tokens.output + tokens.reasoning),
        amounts.write(totals),
        totals
            .last_seen
            .and_then(|at| Timestamp::try_from(at).ok())
            .map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string()),
    ]
}

/// How every amount of a table is written, so that their decimal points stand below each other.
#[derive(Clone, Copy)]
struct Amounts {
    /// At least six; as many as the longest amount needs.
    decimals: usize,
    /// Whether some amount is marked as incomplete.
    marked: bool,
}

impl Amounts {
    fn of(report: &UsersReport) -> Self {
        let all = || report.rows.iter().map(|row| &row.totals).chain([&report.total]);
        let decimals = |totals: &Totals| totals.cost.to_string().split_once('.').map_or(0, |(_, d)| d.len());
        Self {
            decimals: all().map(decimals).max().unwrap_or(0).max(6),
            marked: report.total.unpriced_calls > 0,
        }
    }

    fn write(self, totals: &Totals) -> String {
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

fn notes(report: &UsersReport, out: &mut String) {
    let totals = &report.total;
    let mut note = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    if totals.unpriced_calls > 0 {
        note(format!("* without {} of unknown price", plural(totals.unpriced_calls, "call")));
    }
    if totals.calls.blocked > 0 {
        note(format!("{} refused by a limit", plural(totals.calls.blocked, "call")));
    }
    if totals.calls.abandoned > 0 {
        note(format!("{} abandoned: their process died", plural(totals.calls.abandoned, "call")));
    }
    for site in &report.call_sites {
        let place = site.location.as_deref().map_or_else(|| "a client that does not say where".into(), inert);
        note(format!("{} without {}: {place}", plural(site.calls, "call"), inert(&site.missing)));
    }
    let calls = totals.calls.total();
    if totals.attempts > calls {
        note(format!(
            "{} in {}: a retried call counts once, by its last attempt",
            plural(totals.attempts, "attempt"),
            plural(calls, "call")
        ));
    }
}

fn plural(n: u64, what: &str) -> String {
    format!("{} {what}{}", group(n), if n == 1 { "" } else { "s" })
}

fn lay_out(rows: &mut [[String; 10]], width: Option<usize>) -> String {
    let mut widths = [0; 10];
    for row in rows.iter() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    if let Some(most) = width {
        shrink(&mut widths, most);
    }
    let full: usize = widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
    let mut out = String::new();
    let last = rows.len() - 1;
    for (i, row) in rows.iter().enumerate() {
        if i == 1 || i == last {
            out.push_str(&"─".repeat(full));
            out.push('\n');
        }
        out.push_str(line(row, &widths).trim_end());
        out.push('\n');
    }
    out
}

fn line(row: &[String; 10], widths: &[usize; 10]) -> String {
    let mut line = String::new();
    for (i, (cell, &width)) in row.iter().zip(widths).enumerate() {
        let cell = cut(cell, width);
        let pad = " ".repeat(width.saturating_sub(cell.width()));
        let gap = if i == 0 { "" } else { "  " };
        let (before, after) = if i < NAMES { ("", pad.as_str()) } else { (pad.as_str(), "") };
        line.push_str(&[gap, before, &cell, after].concat());
    }
    line
}

/// Takes what is too much from the names, the longer one first, down to eight columns each.
fn shrink(widths: &mut [usize; 10], most: usize) {
    let full: usize = widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
    for _ in 0..full.saturating_sub(most) {
        let longest = usize::from(widths[0] < widths[1]);
        if widths[longest] > 8 {
            widths[longest] -= 1;
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
fn group(n: u64) -> String {
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
