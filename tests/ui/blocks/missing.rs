//! The block is missing.

fn main() {
    let id = 1;
    payi::track_context!(user_id = id);
    payi::track_context!(user_id = id,);
}
