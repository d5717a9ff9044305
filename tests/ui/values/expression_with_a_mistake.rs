//! A mistake inside a value shows where it is.

#[payi::track(user_id = user.idd)]
fn ask(user: &User) -> u64 {
    user.id
}

struct User {
    id: u64,
}

fn main() {
    ask(&User { id: 1 });
}
