//! A key without its value.

#[payi::track(user_id = , account_name = "acme")]
fn ask() {}

fn main() {
    payi::track_context!(account_name = , { ask() });
}
