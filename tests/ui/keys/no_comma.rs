//! A comma is missing between two arguments.

fn main() {
    payi::track_context!(user_id = 1 account_name = "acme", {});
}
