//! An alias says nothing of what it is.

use std::{future::Future, pin::Pin};

type AnswerFuture = Pin<Box<dyn Future<Output = u8>>>;

#[payi::track(user_id = 1)]
fn answer() -> Result<AnswerFuture, String> {
    Ok(Box::pin(async { 1 }))
}

fn main() {
    drop(answer());
}
