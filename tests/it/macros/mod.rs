//! The macros as a user meets them.

#![allow(
    clippy::needless_continue,
    clippy::panic,
    clippy::semicolon_if_nothing_returned,
    clippy::unused_async,
    clippy::unwrap_used,
    reason = "tests, some of how control leaves a block"
)]

mod block;
mod functions;
mod interleavings;
mod misattribution;
mod select;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Who the running code works for; `-` if nobody.
fn who() -> String {
    payi::current().user_id().map_or_else(|| "-".into(), String::from)
}

/// What a client sees that reads the context when it is called, when it is first polled, and after it has
/// waited: the three must agree.
struct Call {
    made: String,
    polled: Option<String>,
    waits: usize,
}

/// A call by `user`, which waits a few times before it answers.
fn call() -> Call {
    Call { made: who(), polled: None, waits: 3 }
}

impl Future for Call {
    type Output = String;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<String> {
        let now = who();
        let polled = self.polled.get_or_insert_with(|| now.clone()).clone();
        if let Some(waits) = self.waits.checked_sub(1) {
            self.waits = waits;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.made == polled && polled == now {
            return Poll::Ready(now);
        }
        Poll::Ready(format!("made for {}, polled for {polled}, answered for {now}", self.made))
    }
}

/// Lets everybody else run.
async fn turn() {
    for _ in 0..2 {
        tokio::task::yield_now().await;
    }
}
