//! A key is set by `=`, not as in a struct.

#[payi::track(use_case_name: "chat", user_id: user.id)]
fn ask(user: &User) {
    let _ = user.id;
}

struct User {
    id: u64,
}

fn main() {
    ask(&User { id: 1 });
}
