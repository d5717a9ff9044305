//! All rows of a table as CSV or JSON, not only those of a page. Amounts are decimal strings with every digit.

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
};
use payi_core::{
    ledger::read::{Dimension, Driver, Request, Requests},
    pricing::CostSource,
};
use serde_json::{Value, json};

use crate::server::{
    app::{App, Failed},
    drivers::Tab,
    format, page,
    params::Params,
    requests,
};

/// Requests that one export holds at most.
const REQUESTS: usize = 10_000;

struct Rows {
    dimensions: &'static [Dimension],
    as_of: std::time::SystemTime,
    drivers: Vec<Driver>,
    total: Driver,
}

async fn rows(app: App, tab: Tab, query: Option<String>) -> Result<Rows, Failed> {
    let params = Params::read(&query.unwrap_or_default());
    let (_, dimensions) = tab.way(params.by.as_deref());
    app.view(move |view| {
        let resolved = params.range.resolve(&params.now(), view.first()?);
        let mut query = params.query(dimensions, &resolved);
        (query.offset, query.limit) = (0, None);
        let report = view.drivers(&query, &[])?;
        let mut rows = report.rows;
        rows.extend(report.nameless);
        let mut total = Driver::default();
        total.figures = report.total;
        Ok(Rows { dimensions, as_of: view.as_of(), drivers: rows, total })
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
    let mut out = String::new();
    let names = rows.dimensions.iter().map(|d| d.name());
    line(&mut out, names.chain(FIGURES).map(str::to_owned));
    for row in &rows.drivers {
        let names = row.names.iter().map(|name| name.clone().unwrap_or_default());
        line(&mut out, names.chain(figures(row)));
    }
    Ok(file("text/csv; charset=utf-8", tab.name, "csv", out))
}

/// A tab as JSON.
pub(crate) async fn drivers_json(
    State(app): State<App>,
    Path(tab): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let Some(tab) = Tab::find(&tab) else { return Ok(page::missing_tab()) };
    let rows = rows(app, tab, query).await?;
    let object = |row: &Driver| {
        let mut object = object(row);
        if let Some(fields) = object.as_object_mut() {
            for (dimension, name) in rows.dimensions.iter().zip(&row.names) {
                fields.insert(dimension.name().into(), json!(name));
            }
        }
        object
    };
    let body = json!({
        "as_of": format::iso(rows.as_of),
        "rows": rows.drivers.iter().map(object).collect::<Vec<_>>(),
        "total": object(&rows.total),
    });
    Ok(file("application/json", tab.name, "json", body.to_string()))
}

const FIGURES: [&str; 18] = [
    "cost_usd",
    "calls",
    "ok",
    "failed",
    "blocked",
    "aborted",
    "abandoned",
    "attempts",
    "unpriced_calls",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "computed_usd",
    "estimated_usd",
    "first_seen",
    "last_seen",
];

fn figures(row: &Driver) -> [String; 18] {
    let (figures, totals) = (&row.figures, &row.figures.totals);
    let at = |at: Option<std::time::SystemTime>| at.map(format::iso).unwrap_or_default();
    [
        totals.cost.to_string(),
        totals.calls.total().to_string(),
        totals.calls.ok.to_string(),
        totals.calls.failed.to_string(),
        totals.calls.blocked.to_string(),
        totals.calls.aborted.to_string(),
        totals.calls.abandoned.to_string(),
        totals.attempts.to_string(),
        totals.unpriced_calls.to_string(),
        totals.tokens.input.to_string(),
        totals.tokens.cache_read.to_string(),
        totals.tokens.cache_write.to_string(),
        totals.tokens.output.to_string(),
        totals.tokens.reasoning.to_string(),
        figures.from_source(CostSource::Computed).to_string(),
        figures.from_source(CostSource::Estimated).to_string(),
        at(totals.first_seen),
        at(totals.last_seen),
    ]
}

/// The figures of a row as `payi users --format json` names them.
pub(crate) fn object(row: &Driver) -> Value {
    let (figures, totals) = (&row.figures, &row.figures.totals);
    json!({
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
        "cost_usd": totals.cost.to_string(),
        "cost_usd_by_source": {
            "reported": figures.from_source(CostSource::Reported).to_string(),
            "computed": figures.from_source(CostSource::Computed).to_string(),
            "estimated": figures.from_source(CostSource::Estimated).to_string(),
        },
        "unpriced_calls": totals.unpriced_calls,
        "first_seen": totals.first_seen.map(format::iso),
        "last_seen": totals.last_seen.map(format::iso),
    })
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
    let mut out = String::new();
    let heads = "id,at,user_id,account_name,use_case_name,provider,model,outcome,http_status,error,input_tokens,\
                 output_tokens,latency_ms,cost_usd,cost_source";
    line(&mut out, heads.split(',').map(str::to_owned));
    for row in &found.rows {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let cells = [
            row.id.to_string(),
            format::iso(row.at),
            text(&row.user_id),
            text(&row.account_name),
            text(&row.use_case_name),
            text(&row.provider),
            text(&row.model),
            row.outcome.name().into(),
            row.http_status.map(|s| s.to_string()).unwrap_or_default(),
            text(&row.error),
            row.input_tokens.to_string(),
            row.output_tokens.to_string(),
            row.latency.as_millis().to_string(),
            row.cost.known().map(|c| c.to_string()).unwrap_or_default(),
            row.cost.source.name().into(),
        ];
        line(&mut out, cells);
    }
    Ok(file("text/csv; charset=utf-8", "requests", "csv", out))
}

/// Requests as JSON.
pub(crate) async fn requests_json(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let found = request_rows(app, query).await?;
    let body = json!({ "rows": found.rows.iter().map(request).collect::<Vec<_>>(), "more": found.more });
    Ok(file("application/json", "requests", "json", body.to_string()))
}

/// A request as JSON.
pub(crate) fn request(row: &Request) -> Value {
    json!({
        "id": row.id.to_string(), "at": format::iso(row.at), "user_id": row.user_id,
        "account_name": row.account_name, "use_case_name": row.use_case_name, "provider": row.provider,
        "model": row.model, "outcome": row.outcome.name(), "http_status": row.http_status, "error": row.error,
        "input_tokens": row.input_tokens, "output_tokens": row.output_tokens,
        "latency_ms": u64::try_from(row.latency.as_millis()).unwrap_or(u64::MAX),
        "cost_usd": row.cost.known().map(|c| c.to_string()), "cost_source": row.cost.source.name(),
    })
}

fn line(out: &mut String, cells: impl IntoIterator<Item = String>) {
    for (i, text) in cells.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        cell(out, &text);
    }
    out.push_str("\r\n");
}

/// A cell that no spreadsheet takes for a formula.
fn cell(out: &mut String, text: &str) {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    let quote = formula || text.contains([',', '"', '\n', '\r']);
    if !quote {
        out.push_str(text);
        return;
    }
    out.push('"');
    if formula {
        out.push('\'');
    }
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

fn file(kind: &'static str, name: &str, extension: &str, body: String) -> Response {
    let as_file = format!("attachment; filename=\"payi-{name}.{extension}\"");
    ([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, as_file)], Body::from(body))
        .into_response()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cell_is_text_whatever_it_says() {
        for (text, cell) in [
            ("plain", "plain"),
            ("a,\"b\"", "\"a,\"\"b\"\"\""),
            ("=cmd|'/c calc'!A1", "\"'=cmd|'/c calc'!A1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("-1", "-1"),
            ("two\nlines", "\"two\nlines\""),
        ] {
            let mut out = String::new();
            super::cell(&mut out, text);
            assert_eq!(out, cell);
        }
    }
}
