//! `payi calls`: attempts one by one; `payi explain`: how the cost of one came about.

use std::{io::Write, time::SystemTime};

use jiff::tz::TimeZone;
use payi_core::{
    ledger::{
        Ledger,
        read::{Request, group, inert},
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
    server::{differs, explanations_of, moment, money, sum_of},
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
        format => table(&found.rows, found.more, zone).write(format, terminal, out)?,
    }
    Ok(out.flush()?)
}

fn table(rows: &[Request], more: bool, zone: &TimeZone) -> Table {
    let columns = vec![
        Column::new(format!("Began ({})", zone.iana_name().unwrap_or("UTC"))),
        Column::new("User"),
        Column::spare("Use case", 4),
        Column::spare("Model", 1),
        Column::new("Outcome"),
        Column::new("Event id"),
        Column::spare("In", 3),
        Column::spare("Out", 3),
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
            moment(row.at, zone),
            text(&row.user_id),
            text(&row.use_case_name),
            text(&row.model),
            outcome,
            row.id.to_string(),
            group(row.input_tokens),
            group(row.output_tokens),
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
    Table { columns, names: 6, rows, footer: None, notes: note.map(Into::into).into_iter().collect() }
}

pub(crate) fn explain(
    args: &Explain,
    ledger: &Ledger,
    book: &PriceBook,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let id: Uuid = args.call.parse().map_err(|_| {
        Failure::Misuse(format!("{} is no event id; `payi calls` lists them", inert(&args.call)))
    })?;
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
    writeln!(out, "in the ledger: {told} ({})", event.cost.source.name())?;
    if let Some(why) = differs(event, &explained) {
        writeln!(out, "{why}")?;
    }
    Ok(out.flush()?)
}
