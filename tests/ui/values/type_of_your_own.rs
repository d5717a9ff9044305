//! Not everything is an id.

struct Id(u64);

#[payi::track(user_id = id)]
fn ask(id: Id) -> u64 {
    id.0
}

fn main() {
    ask(Id(1));
}
