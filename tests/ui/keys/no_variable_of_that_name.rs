//! A key alone means a variable of its name.

fn main() {
    payi::track_context!(user_id, {});
}
