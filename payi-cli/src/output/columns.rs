//! Tables of names and figures for people: in a terminal, and in Markdown.

use std::{
    io::{self, Write},
    ops::Range,
};

use clap::ValueEnum;
use payi_core::ledger::read::{inert, text_table};
use unicode_width::UnicodeWidthStr as _;

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
    /// For spreadsheets: one record per row, without the total.
    Csv,
    /// A Markdown table.
    Md,
}

/// A column: its heading, and whether a narrow terminal may do without it.
pub(crate) struct Column {
    head: String,
    /// 0 stays; of the others the highest goes first.
    spare: u8,
}

impl Column {
    pub(crate) fn new(head: impl Into<String>) -> Self {
        Self { head: head.into(), spare: 0 }
    }

    /// One that may go; the highest `rank` first.
    pub(crate) fn spare(head: impl Into<String>, rank: u8) -> Self {
        Self { head: head.into(), spare: rank }
    }
}

/// A table: names on the left, figures on the right, and where something stands before the names, it is never cut.
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    /// The columns that hold names, which may be cut.
    pub(crate) names: Range<usize>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) footer: Option<Vec<String>>,
    pub(crate) notes: Vec<String>,
}

/// The least that a cut name is wide.
const NAME: usize = 8;

impl Table {
    pub(crate) fn write(
        self,
        format: Format,
        terminal: Option<Terminal>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        match format {
            Format::Csv => {
                let heads: Vec<_> =
                    self.columns.iter().map(|c| c.head.to_lowercase().replace(' ', "_")).collect();
                csv::cells(&heads, 0, false, out)?;
                self.rows.iter().try_for_each(|row| csv::cells(row, self.names.end, terminal.is_some(), out))
            }
            Format::Md => self.markdown(out),
            Format::Table | Format::Json | Format::Jsonl => {
                let text = self.lay_out(terminal.and_then(|t| t.width));
                let plain = terminal.is_none_or(|t| !t.color);
                out.write_all(if plain { text } else { emphasised(&text) }.as_bytes())
            }
        }
    }

    fn markdown(&self, out: &mut dyn Write) -> io::Result<()> {
        let line = |out: &mut dyn Write, cells: &[String]| {
            let cells: Vec<_> = cells.iter().map(|c| literal(&inert(c))).collect();
            writeln!(out, "| {} |", cells.join(" | "))
        };
        line(out, &self.columns.iter().map(|c| c.head.clone()).collect::<Vec<_>>())?;
        let rule = |i: usize| if i < self.names.end { "---" } else { "---:" };
        writeln!(out, "| {} |", (0..self.columns.len()).map(rule).collect::<Vec<_>>().join(" | "))?;
        for row in self.rows.iter().chain(&self.footer) {
            line(out, row)?;
        }
        for note in &self.notes {
            writeln!(out, "\n{}", literal(note))?;
        }
        Ok(())
    }

    fn lay_out(mut self, width: Option<usize>) -> String {
        if let Some(width) = width {
            self.fit(width);
        }
        let heads = self.columns.iter().map(|c| c.head.to_uppercase()).collect();
        let footer = self.footer.is_some();
        let rows = std::iter::once(heads).chain(self.rows).chain(self.footer);
        let rows: Vec<Vec<String>> =
            rows.map(|row: Vec<String>| row.iter().map(|cell| inert(cell)).collect()).collect();
        let mut out = text_table(&rows, self.names, footer, width);
        for note in &self.notes {
            out.push_str(note);
            out.push('\n');
        }
        out
    }

    /// Gives up columns until the others fit, their names cut as far as may be.
    fn fit(&mut self, most: usize) {
        loop {
            let width = |(i, column): (usize, &Column)| {
                let cells = self.rows.iter().chain(&self.footer).map(|row| inert(&row[i]).width());
                let widest = cells.max().unwrap_or(0).max(column.head.width());
                if self.names.contains(&i) { widest.min(NAME) } else { widest }
            };
            let least: usize = self.columns.iter().enumerate().map(width).sum();
            let spare =
                self.columns.iter().enumerate().max_by_key(|(_, c)| c.spare).filter(|(_, c)| c.spare > 0);
            let Some((i, _)) = spare.filter(|_| least + 2 * (self.columns.len() - 1) > most) else { return };
            self.columns.remove(i);
            self.names.start -= usize::from(i < self.names.start);
            self.names.end -= usize::from(i < self.names.end);
            for row in self.rows.iter_mut().chain(&mut self.footer) {
                row.remove(i);
            }
        }
    }
}

/// A text that means itself in a Markdown table.
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}
