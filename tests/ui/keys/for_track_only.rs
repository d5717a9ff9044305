//! Options of `#[track]` are none of `track_context!`.

fn main() {
    payi::track_context!(user_id = 1, returns = future, skip, {});
}
