//! `crate` takes a path.

#[payi::track(crate = "payi", user_id = 1)]
fn ask() {}

fn main() {
    ask();
}
