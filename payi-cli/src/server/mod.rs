//! `payi serve`: the collector and the dashboard over a ledger, on one port of this machine.
//!
//! Pages are rendered here, by templates that the compiler checks; the browser needs no script for any of
//! them. State lives in the address, so that every view can be kept, shared and exported.

mod api;
mod app;
mod assets;
mod chart;
mod detail;
mod drivers;
mod export;
mod format;
mod guard;
mod health;
mod kpis;
mod limits;
mod listen;
mod live;
mod overview;
mod page;
mod params;
mod range;
mod reports;
mod request;
mod requests;
mod table;
mod traffic;

use std::net::SocketAddr;

use axum::{Router, extract::DefaultBodyLimit, middleware, routing::get};
use payi_core::{ledger::Ledger, pricing::PriceBook};

pub use app::App;
pub(crate) use format::{decimals, moment, money, within_year};
pub use listen::{Options, ServeError, serve};
pub(crate) use page::title;
pub(crate) use range::zone;
pub(crate) use request::{differs, doubts as doubts_of, explain as explanations_of, source, sum as sum_of};

/// Where the dashboard listens unless told otherwise.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8377);

/// Bytes of a request's body that are read, unless an address allows more.
const BODY: usize = 64 * 1024;

/// The whole service over one ledger, with the embedded price book.
///
/// # Errors
/// [`is_ledger`](payi_core::Error::is_ledger) if the ledger cannot be opened once more: each reader has a
/// connection of its own.
pub fn router(ledger: &Ledger) -> payi_core::Result<Router> {
    routes(App::new(ledger, PriceBook::embedded())?, ledger, false)
}

fn routes(app: App, ledger: &Ledger, keep_prompts: bool) -> payi_core::Result<Router> {
    let writer = api::Writer::start(ledger, keep_prompts)?;
    let ready = Router::new().route("/readyz", get(health::ready)).with_state((app.clone(), writer.clone()));
    let api = api::routes(&app, ledger, writer)?;
    let pages = Router::new()
        .route("/", get(overview::show))
        .route("/cost-drivers", get(drivers::first))
        .route("/cost-drivers/{tab}", get(drivers::show))
        .route("/cost-drivers/{tab}/detail", get(detail::show))
        .route("/cost-drivers/{tab}/export.csv", get(export::drivers_csv))
        .route("/cost-drivers/{tab}/export.json", get(export::drivers_json))
        .route("/requests", get(requests::show))
        .route("/limits", get(limits::show))
        .route("/requests/export.csv", get(export::requests_csv))
        .route("/requests/export.json", get(export::requests_json))
        .route("/requests/{id}", get(request::show))
        .route("/api/reports/{name}", get(reports::show))
        .route("/live", get(live::stream))
        .route("/healthz", get(health::alive))
        .route("/metrics", get(health::metrics))
        .route("/assets/{name}", get(assets::file))
        .merge(ready)
        .fallback(page::missing)
        .layer(DefaultBodyLimit::max(BODY));
    let noted = pages.merge(api).layer(middleware::from_fn_with_state(app.clone(), traffic::note));
    Ok(noted.layer(middleware::from_fn(guard::check)).with_state(app))
}
