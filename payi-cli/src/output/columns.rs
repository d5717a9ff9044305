//! Tables of names and figures, in each of the formats that a table may have.

use std::io::{self, Write};

use clap::ValueEnum;
use payi_core::{ledger::read::inert, money::Money};

use crate::output::{Terminal, csv, emphasised};

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON object.
    Json,
    /// For programs: one JSON object per row.
    Jsonl,
    /// For spreadsheets.
    Csv,
    /// A Markdown table.
    Md,
}

/// A table: names on the left, figures on the right.
pub(crate) struct Table {
    pub(crate) heads: Vec<String>,
    /// How many columns hold names.
    pub(crate) names: usize,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) footer: Option<Vec<String>>,
    pub(crate) notes: Vec<String>,
}

pub(crate) fn write(
    table: &Table,
    format: Format,
    terminal: Option<Terminal>,
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        Format::Csv => {
            csv::record_of(out, &table.heads, table.names)?;
            table.rows.iter().try_for_each(|row| csv::record_of(out, row, table.names))
        }
        Format::Md => markdown(table, out),
        Format::Table | Format::Json | Format::Jsonl => {
            let text = lay_out(table, terminal.and_then(|t| t.width));
            let plain = terminal.is_none_or(|t| !t.color);
            out.write_all(if plain { text } else { emphasised(&text) }.as_bytes())
        }
    }
}

fn markdown(table: &Table, out: &mut dyn Write) -> io::Result<()> {
    let line = |out: &mut dyn Write, cells: &[String]| {
        let cells: Vec<_> =
            cells.iter().map(|c| inert(c).replace('\\', "\\\\").replace('|', "\\|")).collect();
        writeln!(out, "| {} |", cells.join(" | "))
    };
    line(out, &table.heads)?;
    let rule = |i: usize| if i < table.names { "---" } else { "---:" };
    writeln!(out, "| {} |", (0..table.heads.len()).map(rule).collect::<Vec<_>>().join(" | "))?;
    for row in table.rows.iter().chain(&table.footer) {
        line(out, row)?;
    }
    for note in &table.notes {
        writeln!(out, "\n{note}")?;
    }
    Ok(())
}

fn lay_out(table: &Table, most: Option<usize>) -> String {
    use unicode_width::UnicodeWidthStr as _;
    let heads: Vec<String> = table.heads.iter().map(|h| h.to_uppercase().replace('_', " ")).collect();
    let lines: Vec<Vec<String>> = std::iter::once(&heads)
        .chain(&table.rows)
        .chain(&table.footer)
        .map(|row| row.iter().map(|cell| inert(cell)).collect())
        .collect();
    let mut widths: Vec<usize> =
        (0..heads.len()).map(|i| lines.iter().map(|l| l[i].width()).max().unwrap_or(0)).collect();
    let full = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    let too_much = most.map_or(0, |most| full(&widths).saturating_sub(most));
    for _ in 0..too_much {
        // What is too much comes off the longest name; figures are never cut.
        if let Some(longest) = widths[..table.names].iter_mut().max().filter(|w| **w > 8) {
            *longest -= 1;
        }
    }
    let rule = "─".repeat(full(&widths));
    let mut out = String::new();
    for (i, line) in lines.iter().enumerate() {
        if i == 1 || (table.footer.is_some() && i + 1 == lines.len() && i > 1) {
            out.push_str(&rule);
            out.push('\n');
        }
        let mut text = String::new();
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            let cell = cut(cell, width);
            let pad = " ".repeat(width.saturating_sub(cell.width()));
            text.push_str(if column == 0 { "" } else { "  " });
            text.push_str(&if column < table.names { cell + &pad } else { pad + &cell });
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    for note in &table.notes {
        out.push_str(note);
        out.push('\n');
    }
    out
}

fn cut(cell: &str, width: usize) -> String {
    use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};
    if cell.width() <= width {
        return cell.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let mut out = String::new();
    for c in cell.chars() {
        let w = c.width().unwrap_or(0);
        if w > left {
            break;
        }
        left -= w;
        out.push(c);
    }
    out.push('…');
    out
}

/// At least six decimals for people, as few as there are for programs; `*` where a part has no price.
pub(crate) fn money(amount: Money, exact: bool, unpriced: bool) -> String {
    if exact {
        return amount.to_string();
    }
    let text = amount.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}.{fraction:0<6}{}", if unpriced { "*" } else { "" })
}

/// `1234567` → `1,234,567`.
pub(crate) fn group(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
