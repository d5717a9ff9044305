//! `payi calls`: attempts one by one; `payi explain`: how the cost of one came about.

use std::io::Write;

use jiff::Timestamp;
use payi_core::ledger::read::{Request, RequestOrder, inert};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    Failure,
    args::{Calls, CallsBy, Explain},
    output::{Terminal, columns},
    prices,
    server::{differs, explanation_of},
};

pub(crate) fn run(args: &Calls, terminal: Option<Terminal>, out: &mut dyn Write) -> Result<(), Failure> {
    let ledger = args.file.read()?;
    let mut query = args.narrow.query()?;
    query.limit = Some(args.limit);
    let order = match args.sort {
        CallsBy::Time => RequestOrder::Time,
        CallsBy::Cost => RequestOrder::Cost,
        CallsBy::Latency => RequestOrder::Latency,
        CallsBy::Tokens => RequestOrder::Tokens,
    };
    let found = ledger.view(|view| view.requests(&query, order))?;
    match args.format {
        columns::Format::Json => {
            let rows: Vec<_> = found.rows.iter().map(object).collect();
            writeln!(out, "{}", json!({ "rows": rows, "more": found.more }))?;
        }
        columns::Format::Jsonl => {
            for row in &found.rows {
                writeln!(out, "{}", object(row))?;
            }
        }
        format => columns::write(&table(&found.rows, found.more), format, terminal, out)?,
    }
    Ok(out.flush()?)
}

fn object(row: &Request) -> Value {
    json!({
        "id": row.id.to_string(), "at": at(row), "user_id": row.user_id, "account_name": row.account_name,
        "use_case_name": row.use_case_name, "provider": row.provider, "model": row.model,
        "outcome": row.outcome.name(), "http_status": row.http_status, "error": row.error,
        "input_tokens": row.input_tokens, "output_tokens": row.output_tokens,
        "latency_ms": u64::try_from(row.latency.as_millis()).unwrap_or(u64::MAX),
        "cost_usd": row.cost.known().map(|c| c.to_string()), "cost_source": row.cost.source.name(),
    })
}

fn at(row: &Request) -> String {
    Timestamp::try_from(row.at).map_or_else(|_| String::new(), |at| at.to_string())
}

fn table(rows: &[Request], more: bool) -> columns::Table {
    let heads = ["at", "user_id", "use_case_name", "model", "outcome", "id", "in", "out", "ms", "cost_usd"];
    let text = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".into());
    let rows = rows.iter().map(|row| {
        let outcome = match (row.http_status, row.error.as_deref()) {
            (_, None) => row.outcome.name().to_owned(),
            (Some(status), Some(error)) => format!("{} {status} {error}", row.outcome.name()),
            (None, Some(error)) => format!("{} {error}", row.outcome.name()),
        };
        vec![
            Timestamp::try_from(row.at)
                .map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string()),
            text(&row.user_id),
            text(&row.use_case_name),
            text(&row.model),
            outcome,
            row.id.to_string(),
            row.input_tokens.to_string(),
            row.output_tokens.to_string(),
            row.latency.as_millis().to_string(),
            row.cost.known().map_or_else(|| "unpriced".into(), |cost| columns::money(cost, false, false)),
        ]
    });
    let notes = if more { vec!["there are more: narrow, or raise --limit".into()] } else { Vec::new() };
    columns::Table {
        heads: heads.map(Into::into).into(),
        names: 6,
        rows: rows.collect(),
        footer: None,
        notes,
    }
}

pub(crate) fn explain(args: &Explain, out: &mut dyn Write) -> Result<(), Failure> {
    let id: Uuid = args.call.parse().map_err(|_| {
        Failure::Misuse(format!("{} is no event id; `payi calls` lists them", inert(&args.call)))
    })?;
    let ledger = args.file.read()?;
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
    let explanation = explanation_of(&stored, prices::book(args.prices.as_deref())?);
    writeln!(out, "\n{explanation}")?;
    let told = event.cost.known().map_or_else(|| "unpriced".into(), |cost| format!("{cost} USD"));
    writeln!(out, "in the ledger: {told} ({})", event.cost.source.name())?;
    if let Some(why) = differs(event, &explanation) {
        writeln!(out, "{why}")?;
    }
    Ok(out.flush()?)
}
