//! A future among other things cannot take the scope along.

use std::{future::Future, pin::Pin};

#[payi::track(user_id = 1)]
fn answers() -> (u8, impl Future<Output = u8>) {
    (1, async { 1 })
}

type Outcome<T> = Result<T, String>;

#[payi::track(user_id = 1)]
fn under_another_name() -> Outcome<impl Future<Output = u8>> {
    Ok(async { 1 })
}

#[payi::track(user_id = 1)]
fn many() -> Vec<Pin<Box<dyn Future<Output = u8>>>> {
    vec![Box::pin(async { 1 })]
}

fn main() {
    drop(answers());
    drop(under_another_name());
    drop(many());
}
