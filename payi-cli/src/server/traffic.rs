//! Requests as they pass: a line in the log and a count for each, by route. A route is a template, so neither holds
//! a name of anybody, and there are as many counts as routes.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};

use crate::server::app::App;

/// How many requests each route answered, by the hundreds of its status.
#[derive(Debug, Default)]
pub(crate) struct Traffic(Mutex<BTreeMap<(String, u16), u64>>);

impl Traffic {
    fn count(&self, route: &str, status: u16) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((route.to_owned(), status / 100)).or_default() += 1;
    }

    /// The counts: route, hundreds of the status, requests.
    pub(crate) fn counts(&self) -> Vec<(String, u16, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|((route, hundreds), n)| (route.clone(), *hundreds, *n)).collect()
    }
}

/// Lets a request pass and notes how it went.
pub(crate) async fn note(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    app.traffic().count(&route, status);
    let method = if method.as_str().len() > 7 { "OTHER" } else { method.as_str() };
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    match (status, &*route) {
        (500.., _) => tracing::error!(method, route, status, ms, "payi serve: answered"),
        (_, "/healthz" | "/readyz" | "/metrics") => {
            tracing::debug!(method, route, status, ms, "payi serve: answered");
        }
        _ => tracing::info!(method, route, status, ms, "payi serve: answered"),
    }
    response
}
