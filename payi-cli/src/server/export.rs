//! All rows of a table as CSV or JSON, not only those of a page. Amounts are decimal strings with every digit.

use std::{io, time::SystemTime};

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
};
use payi_core::ledger::read::{Dimension, Drivers, Requests};
use serde::Serialize;

use crate::{
    output::{
        csv,
        rows::{Attempt, Report},
    },
    server::{
        app::{App, Failed},
        drivers::Tab,
        page,
        params::Params,
        requests,
    },
};

/// Requests that one export holds at most.
const REQUESTS: usize = 10_000;

struct Rows {
    dimensions: &'static [Dimension],
    as_of: SystemTime,
    report: Drivers,
}

async fn rows(app: App, tab: Tab, query: Option<String>) -> Result<Rows, Failed> {
    let params = Params::read(&query.unwrap_or_default());
    let (_, dimensions) = tab.way(params.by.as_deref());
    app.view(move |view| {
        let resolved = params.range.resolve(&params.now(), view.first()?);
        let mut query = params.query(dimensions, &resolved);
        (query.offset, query.limit) = (0, None);
        Ok(Rows { dimensions, as_of: view.as_of(), report: view.drivers(&query, &[])? })
    })
    .await
}

/// A tab as CSV.
pub(crate) async fn drivers_csv(
    State(app): State<App>,
    Path(tab): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let Some(tab) = Tab::find(&tab) else { return Ok(page::missing_tab()) };
    let rows = rows(app, tab, query).await?;
    Ok(as_csv(tab.name, |out| csv::report(rows.dimensions, &rows.report, false, out)))
}

/// A tab as JSON.
pub(crate) async fn drivers_json(
    State(app): State<App>,
    Path(tab): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let Some(tab) = Tab::find(&tab) else { return Ok(page::missing_tab()) };
    let rows = rows(app, tab, query).await?;
    Ok(as_json(tab.name, &Report::new(rows.as_of, rows.dimensions, &rows.report, &[])))
}

async fn request_rows(app: App, query: Option<String>) -> Result<Requests, Failed> {
    let params = Params::read(&query.unwrap_or_default());
    app.view(move |view| {
        let resolved = params.range.resolve(&params.now(), view.first()?);
        let mut query = params.query(&[], &resolved);
        (query.offset, query.limit, query.reverse) = (0, Some(REQUESTS), false);
        view.requests(&query, requests::order(&params).1)
    })
    .await
}

/// Requests as CSV.
pub(crate) async fn requests_csv(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let found = request_rows(app, query).await?;
    Ok(as_csv("requests", |out| csv::attempts(&found.rows, false, out)))
}

/// Requests as JSON.
pub(crate) async fn requests_json(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let found = request_rows(app, query).await?;
    let rows: Vec<_> = found.rows.iter().map(Attempt::from).collect();
    Ok(as_json("requests", &serde_json::json!({ "rows": rows, "more": found.more })))
}

fn as_csv(name: &str, write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> Response {
    let mut out = Vec::new();
    // Memory takes everything.
    let _ = write(&mut out);
    file("text/csv; charset=utf-8", name, "csv", out)
}

fn as_json(name: &str, body: &impl Serialize) -> Response {
    file("application/json", name, "json", serde_json::to_vec(body).unwrap_or_default())
}

fn file(kind: &'static str, name: &str, extension: &str, body: Vec<u8>) -> Response {
    let as_file = format!("attachment; filename=\"payi-{name}.{extension}\"");
    ([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, as_file)], Body::from(body))
        .into_response()
}
