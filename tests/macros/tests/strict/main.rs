//! What the macros write passes `deny(warnings, clippy::pedantic)`, in edition 2021 as well.

#![deny(
    warnings,
    missing_docs,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::shadow_unrelated
)]
#![forbid(unsafe_code)]

mod functions;
mod returns;
mod scopes;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Who the running code works for; `-` if nobody.
fn who() -> String {
    payi::current().user_id().map_or_else(|| "-".into(), String::from)
}

/// A call that reads the context when it is made, when it is first polled and when it is done.
struct Call {
    made: String,
    polled: Option<String>,
}

fn call() -> Call {
    Call { made: who(), polled: None }
}

impl Future for Call {
    type Output = String;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<String> {
        let Some(polled) = self.polled.take() else {
            self.polled = Some(who());
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        let seen = [self.made.clone(), polled, who()];
        Poll::Ready(if seen.iter().all(|who| *who == seen[0]) { who() } else { seen.join("/") })
    }
}

/// Lets everybody else run.
async fn turn() {
    let mut first = true;
    futures::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        if std::mem::take(&mut first) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}
