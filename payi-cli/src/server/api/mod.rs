//! The collector: Pay-i's REST API over the ledger, so that any of its clients can send here.

mod answer;
mod bodies;
mod book;
mod catalogue;
mod categories;
mod error;
mod ingest;
mod instances;
pub(super) mod kpis;
mod limits;
mod prices;
mod reports;
mod requests;
mod units;
mod use_cases;
mod wire;
mod writer;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, post, put},
};
use payi_core::ledger::Ledger;

use crate::server::app::App;
use bodies::Bodies;
use error::Refusal;
use prices::Prices;
use use_cases::Definitions;
pub(crate) use writer::Writer;

/// Bytes of one event, prompts included.
const EVENT: usize = 16 * 1024 * 1024;
/// Bytes of a bulk request.
const BULK: usize = 64 * 1024 * 1024;

/// What the handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    app: App,
    writer: Writer,
    prices: Arc<Prices>,
    definitions: Arc<Definitions>,
    /// For what is no event.
    ledger: Ledger,
}

impl Api {
    /// Reads lists of documents, over a connection that nobody who writes waits for.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> payi_core::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.app.read(work).await?.map_err(|e| unreadable(&e))
    }

    /// Reads or writes single documents, off the threads that serve connections.
    async fn documents<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> payi_core::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let ledger = self.ledger.clone();
        let done =
            tokio::task::spawn_blocking(move || work(&ledger)).await.map_err(|_| Refusal::unavailable())?;
        done.map_err(|e| unreadable(&e))
    }
}

fn unreadable(e: &payi_core::Error) -> Refusal {
    tracing::error!(error = %e, "payi serve: the catalogue could not be read or written");
    Refusal::unavailable()
}

/// The addresses below `/api/v1`. Events go to `writer`, everything else to `ledger`.
pub(crate) fn routes(app: &App, ledger: &Ledger, writer: Writer) -> payi_core::Result<Router<App>> {
    let api = Api {
        app: app.clone(),
        writer,
        prices: Arc::new(Prices::of(app.book())),
        definitions: Arc::new(Definitions::load(ledger)?),
        ledger: ledger.reopen()?,
    };
    categories::load(&api.ledger, &api.prices)?;
    let routes = Router::new()
        .route("/ingest", post(ingest::one).layer(DefaultBodyLimit::max(EVENT)))
        .route("/ingest/bulk", post(ingest::bulk).layer(DefaultBodyLimit::max(BULK)))
        .route("/requests/{id}/result", get(requests::result))
        .route("/requests/{id}/properties", put(requests::properties))
        .route("/requests/provider/{category}/{response}/result", get(requests::result_by_response))
        .route("/requests/provider/{category}/{response}/properties", put(requests::properties_by_response))
        .route("/categories", get(categories::list))
        .route("/categories/{category}", delete(categories::delete_category))
        .route("/categories/{category}/resources", get(categories::resources))
        .route(
            "/categories/{category}/resources/{resource}",
            get(categories::versions).post(categories::create).delete(categories::delete_resource),
        )
        .route(
            "/categories/{category}/resources/{resource}/{id}",
            get(categories::retrieve).delete(categories::delete_version),
        )
        .route("/use_cases/instances/{case}", post(instances::create))
        .route("/use_cases/instances/{case}/{id}", get(instances::retrieve).delete(instances::delete))
        .route("/use_cases/instances/{case}/{id}/properties", put(instances::properties))
        .route("/use_cases/instances/{case}/{id}/kpis", get(kpis::scores))
        .route("/use_cases/instances/{case}/{id}/kpis/{kpi}", put(kpis::score))
        .route("/use_cases/definitions", get(use_cases::list).post(use_cases::create))
        .route(
            "/use_cases/definitions/{case}",
            get(use_cases::retrieve).put(use_cases::update).delete(use_cases::delete),
        )
        .route("/use_cases/definitions/{case}/increment_version", post(use_cases::increment_version))
        .route(
            "/use_cases/definitions/{case}/limit_config",
            post(use_cases::set_limit).delete(use_cases::delete_limit),
        )
        .route("/use_cases/definitions/{case}/kpis", get(kpis::list).post(kpis::create))
        .route(
            "/use_cases/definitions/{case}/kpis/{kpi}",
            get(kpis::retrieve).put(kpis::update).delete(kpis::delete),
        )
        .route("/limits", get(limits::list).post(limits::create))
        .route("/limits/{id}", get(limits::retrieve).put(limits::update).delete(limits::remove))
        .route("/limits/{id}/reset", post(limits::reset))
        .route("/limits/{id}/properties", put(limits::set_properties))
        .route("/reports/{report}", get(reports::show))
        .fallback(missing)
        .method_not_allowed_fallback(missing)
        .layer(middleware::from_fn_with_state(Bodies::default(), bodies::bound))
        .layer(middleware::from_fn(ingest::admit))
        .with_state(api);
    Ok(Router::new().nest("/api/v1", routes))
}

async fn missing() -> Refusal {
    Refusal::missing(
        "request_processing_error",
        "payi serve has no such address; see its documentation for those it has",
    )
}
