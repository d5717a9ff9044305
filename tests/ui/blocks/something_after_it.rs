//! The block comes last.

fn main() {
    payi::track_context!({}, user_id = 1);
}
