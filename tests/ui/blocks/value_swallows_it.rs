//! The only block is the value of a key.

fn main() {
    payi::track_context!(user_id = { 1 });
}
