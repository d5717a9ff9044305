//! A literal user in `#[track]` is a warning.

#![deny(warnings)]

#[payi::track(user_id = "ann")]
fn ask() {}

fn main() {
    ask();
}
