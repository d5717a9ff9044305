//! `payi users`, `accounts`, `use-cases`, `models`: spend by any dimension; and `payi diff` of two ranges.

use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, SystemTime},
};

use jiff::tz::TimeZone;
use payi_core::{
    ledger::{
        CallSite, Ledger,
        read::{Amounts, Dimension, Driver, Drivers, Query, Totals, footnotes, group},
    },
    money::Money,
};
use serde::Serialize;

use crate::{
    Failure,
    args::{Conditions, Diff, Spend},
    output::{
        Terminal,
        columns::{Column, Format, Table},
        csv, rows,
    },
    server::{moment, title},
};

pub(crate) fn run(
    args: &Spend,
    usual: &[Dimension],
    ledger: &Ledger,
    terminal: Option<Terminal>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (zone, mut query) = args.narrow.query(SystemTime::now());
    query.by = args.dimensions(usual);
    (query.order, query.reverse, query.limit) = (args.sort.into(), args.reverse, args.limit);
    let (as_of, report, sites) = ledger.view(|view| {
        let sites = if Conditions::leaves_out(&query) { Vec::new() } else { view.call_sites(query.since)? };
        Ok((view.as_of(), view.drivers(&query, &[])?, sites))
    })?;
    match args.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &rows::Report::new(as_of, &query.by, &report, &sites))?;
            writeln!(out)?;
        }
        Format::Jsonl => {
            for row in rows::all(&report) {
                serde_json::to_writer(&mut *out, &rows::Row::new(&query.by, row))?;
                writeln!(out)?;
            }
        }
        Format::Csv => csv::report(&query.by, &report, terminal.is_some(), out)?,
        Format::Table | Format::Md => {
            table(&report, &query, &sites, zone).write(args.format, terminal, out)?;
        }
    }
    Ok(out.flush()?)
}

fn names_of(by: &[Dimension]) -> Vec<Column> {
    by.iter().map(|d| Column::new(title(*d))).collect()
}

fn table(report: &Drivers, query: &Query, sites: &[CallSite], zone: &TimeZone) -> Table {
    let mut columns = names_of(&query.by);
    let names = columns.len();
    columns.extend([
        Column::new("OK"),
        Column::spare("Failed", 1),
        Column::spare("Aborted", 4),
        Column::spare("Input", 2),
        Column::spare("Cached", 5),
        Column::spare("Output", 3),
        Column::new("Cost (USD)"),
        Column::spare(format!("Last seen ({})", zone.iana_name().unwrap_or("UTC")), 6),
    ]);
    let total = &report.total.totals;
    let amounts = Amounts::of(rows::all(report).map(|row| &row.figures.totals).chain([total]));
    let figures = |totals: &Totals| amounts.row(totals, |at| moment(at, zone));
    let rows = rows::all(report).enumerate().map(|(n, row)| {
        // The nameless are one row, whatever the other dimensions say.
        let nameless = n >= report.rows.len();
        let names = named(&query.by, row, nameless);
        names.into_iter().chain(figures(&row.figures.totals)).collect()
    });
    let rows: Vec<_> = rows.collect();
    let mut footer = vec!["TOTAL".to_owned()];
    footer.resize(names.max(1), String::new());
    footer.extend(figures(total));
    let mut notes = footnotes(total, sites);
    if rows.is_empty() {
        notes.push("no call is on record that matches".into());
    }
    let more = report.count.saturating_sub(report.rows.len());
    if more > 0 {
        notes.push(format!("{} more rows; the total has them", group(more as u64)));
    }
    Table { columns, names: 0..names, rows, footer: Some(footer), notes }
}

fn named(by: &[Dimension], row: &Driver, nameless: bool) -> Vec<String> {
    let names = by.iter().zip(&row.names).enumerate();
    let one = |(i, (dimension, name)): (usize, (&Dimension, &Option<String>))| match name {
        Some(name) => name.clone(),
        None if nameless && i == 0 => nobody(*dimension).into(),
        None => "-".into(),
    };
    names.map(one).collect()
}

/// What stands in a table where there is no name.
fn nobody(dimension: Dimension) -> &'static str {
    if dimension == Dimension::User { "(Unattributed)" } else { "(none)" }
}

/// Two ranges side by side.
#[derive(Serialize)]
struct Compared<'r> {
    rows: Vec<Pair<'r>>,
    total: Change,
}

#[derive(Serialize)]
struct Pair<'r> {
    #[serde(flatten)]
    names: rows::Names<'r>,
    #[serde(flatten)]
    change: Change,
}

#[derive(Serialize)]
#[allow(clippy::struct_field_names, reason = "the names of the JSON fields")]
struct Change {
    before_usd: String,
    after_usd: String,
    change_usd: String,
}

/// What was spent in the one range and in the other; in the one nothing is, where it has no such row.
#[derive(Clone, Copy, Debug, Default)]
struct Both {
    before: Option<Money>,
    after: Money,
}

impl Both {
    fn change(self) -> Money {
        Money::from_pico(self.after.pico() - self.before().pico())
    }

    fn before(self) -> Money {
        self.before.unwrap_or_default()
    }

    fn amounts(self) -> [Money; 3] {
        [self.before(), self.after, self.change()]
    }

    fn exact(self) -> Change {
        let [before_usd, after_usd, change_usd] = self.amounts().map(|m| m.to_string());
        Change { before_usd, after_usd, change_usd }
    }
}

type Row = (Vec<Option<String>>, Both);

/// Compares a range with the one before it, or with another.
pub(crate) fn diff(
    args: &Diff,
    ledger: &Ledger,
    terminal: Option<Terminal>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let now = SystemTime::now();
    let (zone, mut after) = args.narrow.query(now);
    let until = after.until.unwrap_or(now);
    let since = after.since.unwrap_or(until - Duration::from_secs(7 * 86_400));
    let length = until.duration_since(since).unwrap_or_default();
    let against = args.against.map_or(since - length, |at| at.resolve(zone, now));
    (after.since, after.until) = (Some(since), Some(until));
    after.by = args.group_by.iter().copied().take(4).collect();
    let mut before = after.clone();
    (before.since, before.until) = (Some(against), Some(against + length));
    let (was, is) = ledger.view(|view| Ok((view.drivers(&before, &[])?, view.drivers(&after, &[])?)))?;
    let mut by_name: BTreeMap<Vec<Option<String>>, Both> = BTreeMap::new();
    for row in rows::all(&was) {
        *by_name.entry(row.names.clone()).or_default().before.get_or_insert_default() +=
            row.figures.totals.cost;
    }
    for row in rows::all(&is) {
        by_name.entry(row.names.clone()).or_default().after += row.figures.totals.cost;
    }
    let mut found: Vec<Row> = by_name.into_iter().collect();
    found.sort_by_key(|(names, both)| (std::cmp::Reverse(both.change().pico().abs()), names.clone()));
    let total = Both { before: Some(was.total.totals.cost), after: is.total.totals.cost };
    match args.format {
        Format::Json => {
            let rows = found.iter().map(|row| pair(&after.by, row));
            serde_json::to_writer_pretty(
                &mut *out,
                &Compared { rows: rows.collect(), total: total.exact() },
            )?;
            writeln!(out)?;
        }
        Format::Jsonl => {
            for row in &found {
                serde_json::to_writer(&mut *out, &pair(&after.by, row))?;
                writeln!(out)?;
            }
        }
        format => {
            if format != Format::Csv {
                let span = |since, until| format!("{} to {}", moment(since, zone), moment(until, zone));
                let (was, is) = (span(against, against + length), span(since, until));
                let zone = zone.iana_name().unwrap_or("UTC");
                writeln!(out, "Before: {was}. After: {is} ({zone}).")?;
            }
            if format == Format::Md {
                writeln!(out)?;
            }
            compared(&after.by, &found, total, format).write(format, terminal, out)?;
        }
    }
    Ok(out.flush()?)
}

fn pair<'r>(by: &'r [Dimension], (names, both): &'r Row) -> Pair<'r> {
    Pair { names: rows::Names { by, names }, change: both.exact() }
}

fn compared(by: &[Dimension], found: &[Row], total: Both, format: Format) -> Table {
    let exact = format == Format::Csv;
    let decimals = found.iter().flat_map(|(_, both)| both.amounts());
    let decimals = decimals.map(crate::server::decimals).max().unwrap_or(6);
    let cells = |both: Both| {
        let mut cells = both.amounts().map(|amount| {
            let text = amount.to_string();
            if exact {
                return text;
            }
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
            format!("{whole}.{fraction:0<decimals$}")
        });
        if !exact && both.before.is_none() {
            // Nothing has changed where nothing was; how much it is, the column before says.
            cells[2] = "new".into();
        }
        cells
    };
    let mut columns: Vec<Column> =
        by.iter().map(|d| Column::new(if exact { d.name() } else { title(*d) })).collect();
    let names = columns.len();
    columns.extend(["Before USD", "After USD", "Change USD"].map(Column::new));
    let mut footer = vec!["TOTAL".to_owned()];
    footer.resize(names.max(1), String::new());
    footer.extend(cells(total));
    let none = |dimension: Dimension| if exact { "" } else { nobody(dimension) };
    let rows = found.iter().map(|(n, both)| {
        let names = n.iter().zip(by).map(|(n, by)| n.clone().unwrap_or_else(|| none(*by).into()));
        names.chain(cells(*both)).collect()
    });
    Table { columns, names: 0..names, rows: rows.collect(), footer: Some(footer), notes: Vec::new() }
}
