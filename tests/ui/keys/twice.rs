//! A key is set twice.

#[payi::track(user_id = id, user_id = id + 1)]
fn ask(id: u64) {
    let _ = id;
}

fn main() {
    ask(1);
}
