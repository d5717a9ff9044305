//! A future in a tuple cannot take the scope along.

use std::future::Future;

#[payi::track(user_id = 1)]
fn answers() -> (u8, impl Future<Output = u8>) {
    (1, async { 1 })
}

fn main() {
    drop(answers());
}
