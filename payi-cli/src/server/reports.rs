//! `GET /api/reports/…`: the reports of the command line, with its options as the query. `payi --server` asks here.

use axum::{
    extract::{Path, RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use clap::Parser as _;

use crate::{
    Failure, Terminal,
    args::Args,
    report::{LOCAL, arguments},
    server::app::{App, Failed},
};

/// A report, such as `/api/reports/users?since=7d&format=json`.
pub(crate) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let mut terminal = None;
    let mut options = Vec::new();
    for (option, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*option {
            "terminal-width" => terminal.get_or_insert_with(Terminal::default).width = value.parse().ok(),
            "terminal-color" => terminal.get_or_insert_with(Terminal::default).color = value == "yes",
            local if LOCAL.contains(&local) => {
                return Ok(refused(
                    StatusCode::BAD_REQUEST,
                    "this server reports from its own ledger and prices",
                ));
            }
            _ => options.push((option.into_owned(), value.into_owned())),
        }
    }
    let args = match Args::try_parse_from(arguments(&name, options.into_iter())) {
        Ok(args) if args.command.report().is_some() => args,
        Err(e) if e.use_stderr() && !matches!(e.kind(), clap::error::ErrorKind::InvalidSubcommand) => {
            return Ok(refused(StatusCode::BAD_REQUEST, &e.to_string()));
        }
        _ => return Ok(refused(StatusCode::NOT_FOUND, "there is no such report")),
    };
    let book = app.book();
    let written = app
        .read(move |ledger| {
            let mut out = Vec::new();
            let report = args.command.report();
            let done = report.map_or(Ok(()), |report| report.write(ledger, book, terminal, &mut out));
            done.map(|()| out)
        })
        .await?;
    Ok(match written {
        Ok(out) => ([(header::CONTENT_TYPE, kind_of(&out))], out).into_response(),
        Err(Failure::Misuse(message)) => refused(StatusCode::BAD_REQUEST, &message),
        Err(Failure::Failed(message)) => refused(StatusCode::NOT_FOUND, &message),
        Err(Failure::Ledger(message)) => {
            tracing::error!(error = message, "payi serve: the ledger could not be read");
            let said = "the ledger could not be read; its message is in the log of payi serve";
            refused(StatusCode::SERVICE_UNAVAILABLE, said)
        }
        Err(Failure::Found | Failure::Near | Failure::Reader) => {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    })
}

/// The ends of a report as Pay-i's API names them: `from` is in it, `to` is not.
#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct Span {
    from: Option<String>,
    to: Option<String>,
}

/// A report as Pay-i's API gives it: CSV.
pub(crate) async fn csv(app: App, name: String, span: Span) -> Result<Response, Failed> {
    let ends = [("since", span.from), ("until", span.to)];
    let ends = ends.into_iter().filter_map(|(option, end)| Some((option, end?)));
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("format", "csv")
        .extend_pairs(ends)
        .finish();
    let mut answer = show(State(app), Path(name), RawQuery(Some(query))).await?;
    if answer.status().is_success() {
        let kind = header::HeaderValue::from_static("text/csv; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    Ok(answer)
}

/// JSON is told by how it begins; the rest is text, which no browser takes for a page.
fn kind_of(out: &[u8]) -> &'static str {
    if out.starts_with(b"{") { "application/json" } else { "text/plain; charset=utf-8" }
}

fn refused(status: StatusCode, message: &str) -> Response {
    (status, format!("{}\n", message.trim_end())).into_response()
}
