//! A key that is almost one.

use payi::track;

#[track(usr_id = id)]
fn ask(id: u64) -> u64 {
    id
}

fn main() {
    ask(1);
}
