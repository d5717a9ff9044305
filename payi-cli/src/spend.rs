//! `payi accounts`, `use-cases`, `models`: spend by any dimension; and `payi diff` of two ranges.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use payi_core::{
    ledger::read::{Dimension, Driver, Drivers, Query},
    money::Money,
};
use serde_json::{Map, Value, json};

use crate::{
    Failure,
    args::{Diff, Spend},
    output::{Terminal, columns, json::timestamp},
};

pub(crate) fn run(
    args: &Spend,
    of: Dimension,
    terminal: Option<Terminal>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let ledger = args.file.read()?;
    let mut query = args.narrow.query()?;
    query.by = args.dimensions(of);
    (query.order, query.reverse, query.limit) = (args.sort.into(), args.reverse, args.limit);
    let (as_of, report) = ledger.view(|view| Ok((view.as_of(), view.drivers(&query, &[])?)))?;
    match args.format {
        columns::Format::Json => {
            let rows: Vec<_> = all(&report).map(|row| object(row, &query)).collect();
            let whole = json!({
                "as_of": timestamp(as_of).map(|at| at.to_string()), "rows": rows, "total": figures(&total(&report)),
            });
            writeln!(out, "{whole}")?;
        }
        columns::Format::Jsonl => {
            for row in all(&report) {
                writeln!(out, "{}", object(row, &query))?;
            }
        }
        format => {
            let table = table(&report, &query, format == columns::Format::Csv);
            columns::write(&table, format, terminal, out)?;
        }
    }
    Ok(out.flush()?)
}

fn all(report: &Drivers) -> impl Iterator<Item = &Driver> {
    report.rows.iter().chain(&report.nameless)
}

fn total(report: &Drivers) -> Driver {
    let mut total = Driver::default();
    total.figures = report.total;
    total
}

fn figures(row: &Driver) -> Map<String, Value> {
    let totals = &row.figures.totals;
    let at = |at: Option<SystemTime>| at.and_then(timestamp).map(|at| at.to_string());
    let value = json!({
        "calls": {
            "ok": totals.calls.ok, "failed": totals.calls.failed, "aborted": totals.calls.aborted,
            "blocked": totals.calls.blocked, "abandoned": totals.calls.abandoned,
        },
        "attempts": totals.attempts,
        "tokens": {
            "input": totals.tokens.input, "cache_read": totals.tokens.cache_read,
            "cache_write": totals.tokens.cache_write, "output": totals.tokens.output,
            "reasoning": totals.tokens.reasoning,
        },
        "cost_usd": totals.cost.to_string(), "unpriced_calls": totals.unpriced_calls,
        "first_seen": at(totals.first_seen), "last_seen": at(totals.last_seen),
    });
    if let Value::Object(map) = value { map } else { Map::new() }
}

fn object(row: &Driver, query: &Query) -> Value {
    let names = query.by.iter().zip(&row.names).map(|(d, name)| (d.name().to_owned(), json!(name)));
    Value::Object(names.chain(figures(row)).collect())
}

fn table(report: &Drivers, query: &Query, exact: bool) -> columns::Table {
    let mut heads: Vec<String> = query.by.iter().map(|d| d.name().to_owned()).collect();
    let names = heads.len();
    heads.extend(
        ["ok", "failed", "aborted", "blocked", "input", "cached", "output", "cost_usd"].map(Into::into),
    );
    let count = |n: u64| if exact { n.to_string() } else { columns::group(n) };
    let cells = |row: &Driver| {
        let (calls, tokens) = (&row.figures.totals.calls, &row.figures.totals.tokens);
        [
            count(calls.ok),
            count(calls.failed),
            count(calls.aborted + calls.abandoned),
            count(calls.blocked),
            count(tokens.input),
            count(tokens.cache_read + tokens.cache_write),
            count(tokens.output + tokens.reasoning),
            columns::money(row.figures.totals.cost, exact, row.figures.totals.unpriced_calls > 0),
        ]
    };
    let rows = all(report).enumerate().map(|(n, row)| {
        // The nameless are one row, whatever the other dimensions say.
        let nameless = n >= report.rows.len();
        let names = row.names.iter().enumerate().map(move |(i, name)| match name {
            Some(name) => name.clone(),
            None if exact || (nameless && i > 0) => String::new(),
            None => "(none)".into(),
        });
        names.chain(cells(row)).collect()
    });
    let mut footer: Vec<String> =
        (0..names).map(|i| if i == 0 { "TOTAL".into() } else { String::new() }).collect();
    footer.extend(cells(&total(report)));
    let mut notes = Vec::new();
    let totals = &report.total.totals;
    if totals.unpriced_calls > 0 {
        notes.push(format!(
            "* without {} of unknown price",
            crate::output::plural(totals.unpriced_calls, "call")
        ));
    }
    if report.count > report.rows.len() {
        notes.push(format!("{} more rows; the total has them", report.count - report.rows.len()));
    }
    columns::Table { heads, names, rows: rows.collect(), footer: Some(footer), notes }
}

/// Compares a range with the one before it, or with another.
pub(crate) fn diff(args: &Diff, terminal: Option<Terminal>, out: &mut dyn Write) -> Result<(), Failure> {
    let ledger = args.file.read()?;
    let mut after = args.narrow.query()?;
    let now = SystemTime::now();
    let until = after.until.unwrap_or(now);
    let since = after.since.unwrap_or(until - Duration::from_secs(7 * 86_400));
    let length = until.duration_since(since).unwrap_or_default();
    let against = args.against.unwrap_or(since - length);
    (after.since, after.until, after.by) = (Some(since), Some(until), args.dimensions());
    let mut before = after.clone();
    (before.since, before.until) = (Some(against), Some(against + length));
    let (was, is) = ledger.view(|view| Ok((view.drivers(&before, &[])?, view.drivers(&after, &[])?)))?;
    let mut rows: std::collections::BTreeMap<Vec<Option<String>>, (Money, Money)> =
        std::collections::BTreeMap::new();
    for row in all(&was) {
        rows.entry(row.names.clone()).or_default().0 += row.figures.totals.cost;
    }
    for row in all(&is) {
        rows.entry(row.names.clone()).or_default().1 += row.figures.totals.cost;
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(names, (was, is))| (std::cmp::Reverse((is.pico() - was.pico()).abs()), names.clone()));
    write_diff(&after, &rows, (was.total.totals.cost, is.total.totals.cost), args.format, terminal, out)
}

type DiffRow = (Vec<Option<String>>, (Money, Money));

fn write_diff(
    query: &Query,
    rows: &[DiffRow],
    total: (Money, Money),
    format: columns::Format,
    terminal: Option<Terminal>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let change = |(was, is): (Money, Money)| Money::from_pico(is.pico() - was.pico());
    if matches!(format, columns::Format::Json | columns::Format::Jsonl) {
        let money = |both: (Money, Money)| json!({ "before_usd": both.0.to_string(), "after_usd": both.1.to_string(), "change_usd": change(both).to_string() });
        let object = |(names, both): &DiffRow| {
            let names = query.by.iter().zip(names).map(|(d, name)| (d.name().to_owned(), json!(name)));
            let mut map: Map<String, Value> = names.collect();
            if let Value::Object(figures) = money(*both) {
                map.extend(figures);
            }
            Value::Object(map)
        };
        if format == columns::Format::Jsonl {
            for row in rows {
                writeln!(out, "{}", object(row))?;
            }
        } else {
            let rows: Vec<_> = rows.iter().map(object).collect();
            writeln!(out, "{}", json!({ "rows": rows, "total": money(total) }))?;
        }
        return Ok(out.flush()?);
    }
    let exact = format == columns::Format::Csv;
    let cells =
        |both: (Money, Money)| [both.0, both.1, change(both)].map(|m| columns::money(m, exact, false));
    let mut heads: Vec<String> = query.by.iter().map(|d| d.name().to_owned()).collect();
    let names = heads.len();
    heads.extend(["before_usd", "after_usd", "change_usd"].map(Into::into));
    let mut footer: Vec<String> =
        (0..names).map(|i| if i == 0 { "TOTAL".into() } else { String::new() }).collect();
    footer.extend(cells(total));
    let none = || if exact { String::new() } else { "(none)".into() };
    let table = columns::Table {
        heads,
        names,
        rows: rows
            .iter()
            .map(|(n, both)| n.iter().map(|n| n.clone().unwrap_or_else(none)).chain(cells(*both)).collect())
            .collect(),
        footer: Some(footer),
        notes: Vec::new(),
    };
    columns::write(&table, format, terminal, out)?;
    Ok(out.flush()?)
}
