//! The two files a page loads: its style, and the small script that keeps it fresh.

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

/// The name of the style sheet; it changes with its text, so that browsers may keep it for ever.
pub(crate) const STYLE: &str = concat!("style-", env!("CARGO_PKG_VERSION"), ".css");
/// The name of the script.
pub(crate) const SCRIPT: &str = concat!("live-", env!("CARGO_PKG_VERSION"), ".js");
/// The name of the icon.
pub(crate) const ICON: &str = "icon.svg";

/// One of the files; there is no directory behind it that a path could climb out of.
pub(crate) async fn file(Path(name): Path<String>) -> Response {
    let (kind, text) = match name.as_str() {
        STYLE => ("text/css; charset=utf-8", include_str!("../../assets/style.css")),
        SCRIPT => ("text/javascript; charset=utf-8", include_str!("../../assets/live.js")),
        ICON => ("image/svg+xml", include_str!("../../assets/icon.svg")),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let keep = if cfg!(debug_assertions) { "no-cache" } else { "public, max-age=3600" };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)], text).into_response()
}
