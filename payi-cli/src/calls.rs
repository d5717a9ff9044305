//! `payi calls`: attempts one by one; `payi explain`: how the cost of one came about.

use std::{io::Write, time::SystemTime};

use jiff::tz::TimeZone;
use payi_core::{
    ledger::{
        Ledger,
        read::{Found, Request, group, inert},
    },
    pricing::PriceBook,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Failure,
    args::{Calls, Explain},
    output::{
        Terminal,
        columns::{Column, Format, Table},
        csv,
        rows::Attempt,
    },
    server::{differs, doubts_of, explanations_of, moment, money, source, sum_of, within_year},
};

#[derive(Serialize)]
struct List<'r> {
    rows: Vec<Attempt<'r>>,
    /// Whether there are more.
    more: bool,
}

pub(crate) fn run(
    args: &Calls,
    ledger: &Ledger,
    terminal: Option<Terminal>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (zone, mut query) = args.narrow.query(SystemTime::now());
    (query.limit, query.reverse) = (Some(args.limit), args.reverse);
    let found = ledger.view(|view| view.requests(&query, args.sort.into()))?;
    match args.format {
        Format::Json => {
            let list = List { rows: found.rows.iter().map(Attempt::from).collect(), more: found.more };
            serde_json::to_writer_pretty(&mut *out, &list)?;
            writeln!(out)?;
        }
        Format::Jsonl => {
            for row in &found.rows {
                serde_json::to_writer(&mut *out, &Attempt::from(row))?;
                writeln!(out)?;
            }
        }
        Format::Csv => csv::attempts(&found.rows, terminal.is_some(), out)?,
        format => {
            table(&found.rows, found.more, zone, is_narrow(format, terminal)).write(format, terminal, out)?;
        }
    }
    Ok(out.flush()?)
}

/// Columns of text below which a whole id leaves no room for what the rows are about.
const WIDE: usize = 120;

fn is_narrow(format: Format, terminal: Option<Terminal>) -> bool {
    format == Format::Table && terminal.and_then(|t| t.width).is_some_and(|width| width < WIDE)
}

/// The end of an id, by which `explain` finds it: ids of one time all begin alike.
fn tail(id: Uuid) -> String {
    id.to_string().rsplit('-').next().unwrap_or_default().to_owned()
}

fn table(rows: &[Request], more: bool, zone: &TimeZone, narrow: bool) -> Table {
    // When it began, which call it is and what it cost stand apart from the names, because they are never cut.
    let columns = vec![
        Column::new(format!("Began ({})", zone.iana_name().unwrap_or("UTC"))),
        Column::new("User"),
        Column::spare("Use case", 4),
        Column::spare("Model", 1),
        Column::new("Outcome"),
        Column::new(if narrow { "Id ends" } else { "Event id" }),
        Column::spare("Input", 3),
        Column::spare("Cached", 5),
        Column::spare("Output", 3),
        Column::spare("ms", 2),
        Column::new("Cost (USD)"),
    ];
    let text = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".into());
    let rows = rows.iter().map(|row| {
        let outcome = match (row.http_status, row.error.as_deref()) {
            (_, None) => row.outcome.name().to_owned(),
            (Some(status), Some(error)) => format!("{} {status} {error}", row.outcome.name()),
            (None, Some(error)) => format!("{} {error}", row.outcome.name()),
        };
        vec![
            if narrow { within_year(row.at, zone) } else { moment(row.at, zone) },
            text(&row.user_id),
            text(&row.use_case_name),
            text(&row.model),
            outcome,
            if narrow { tail(row.id) } else { row.id.to_string() },
            group(row.tokens.input),
            group(row.tokens.cache_read + row.tokens.cache_write),
            group(row.tokens.output + row.tokens.reasoning),
            group(u64::try_from(row.latency.as_millis()).unwrap_or(u64::MAX)),
            row.cost.known().map_or_else(|| "unpriced".into(), money),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let note = match (rows.is_empty(), more) {
        (true, _) => Some("no call is on record that matches"),
        (_, true) => Some("there are more: narrow, or raise --limit"),
        _ => None,
    };
    Table { columns, names: 1..5, rows, footer: None, notes: note.map(Into::into).into_iter().collect() }
}

pub(crate) fn explain(
    args: &Explain,
    ledger: &Ledger,
    book: &PriceBook,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let id = one(&args.call, ledger.view(|view| view.find(&args.call))?)?;
    let found = ledger.view(|view| view.request(id))?;
    let Some((stored, attempts)) = found else {
        return Err(Failure::Failed(format!("the ledger has no call {id}")));
    };
    let event = &stored.event;
    let name = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), inert);
    let model = event.response_model.as_deref().or(event.request_model.as_deref());
    writeln!(out, "{id}  {}  {} {}", event.outcome.name(), event.provider, name(model))?;
    let case = stored.who.use_case.as_ref().map(|case| &*case.name);
    let (user, account) = (name(stored.who.user_id.as_deref()), name(stored.who.account_name.as_deref()));
    writeln!(out, "user {user}, account {account}, use case {}", name(case))?;
    if attempts.len() > 1 {
        writeln!(out, "attempt {} of {}", event.attempt, attempts.len())?;
    }
    let explained = explanations_of(event, &stored.who, book);
    for explanation in &explained {
        writeln!(out, "\n{explanation}")?;
    }
    if let ([_, _, ..], Some(sum)) = (&explained[..], sum_of(&explained).known()) {
        writeln!(out, "\n{} models together: {sum} USD", explained.len())?;
    }
    let told = event.cost.known().map_or_else(|| "unpriced".into(), |cost| format!("{cost} USD"));
    if let Some(error) = &event.error {
        writeln!(out, "error: {error}")?;
    }
    writeln!(out, "in the ledger: {told} ({})", source(event))?;
    for (what, doubt) in doubts_of(event) {
        writeln!(out, "{}: {doubt}", what.to_lowercase())?;
    }
    if let Some(why) = differs(event, &explained) {
        writeln!(out, "{why}")?;
    }
    Ok(out.flush()?)
}

/// The one call that is meant by `asked`.
fn one(asked: &str, found: Option<Found>) -> Result<Uuid, Failure> {
    let asked = inert(asked);
    let Some(found) = found else {
        return Err(Failure::Misuse(format!(
            "{asked} is no event id, nor four digits or more of one; `payi calls` lists them"
        )));
    };
    match found.ids[..] {
        [id] => Ok(id),
        [] => Err(Failure::Failed(format!("the ledger has no call {asked}"))),
        [id, ..] => Err(Failure::Misuse(format!(
            "the ids of {} calls begin or end with {asked}: write more of it, such as {id}",
            group(found.count)
        ))),
    }
}
