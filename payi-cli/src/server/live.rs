//! Server-sent events: tells open pages that the ledger has grown. They fetch themselves again then.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, stream};

use crate::server::app::{App, CLOSED};

/// A stream of the number of the newest event, at most one a second.
pub(crate) async fn stream(State(app): State<App>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let news = app.news();
    let events = stream::unfold(news, |mut news| async move {
        news.changed().await.ok()?;
        let seq = *news.borrow_and_update();
        if seq == CLOSED {
            return None;
        }
        Some((Ok(Event::default().event("seq").data(seq.to_string())), news))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}
