//! Only functions are tracked.

#[payi::track(user_id = 1)]
struct Service;

fn main() {
    let _ = Service;
}
