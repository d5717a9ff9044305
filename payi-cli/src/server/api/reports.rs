//! `GET /api/v1/reports/{report_id}`: reports as CSV. Pay-i's are those that somebody saved there; here they are those
//! of the command line, by their names.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};

use crate::server::{
    api::{
        Api,
        error::{Path, Query, Refusal},
    },
    reports::{self, Span},
};

/// A report, such as `/api/v1/reports/users?from=2026-11-01&to=2026-12-01`.
pub(crate) async fn show(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(span): Query<Span>,
) -> Result<Response, Refusal> {
    let answer = reports::csv(api.app, name, span).await?;
    let refused = |message: &str| Refusal::new(answer.status(), "request_processing_error", message);
    Ok(match answer.status() {
        StatusCode::BAD_REQUEST => {
            refused("from and to are days or times, such as 2026-11-23T14:00:00Z").into_response()
        }
        StatusCode::NOT_FOUND => {
            refused("there is no such report; users, accounts, use-cases, models and calls are")
                .into_response()
        }
        _ => answer,
    })
}
