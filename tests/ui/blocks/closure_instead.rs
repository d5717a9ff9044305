//! The body is a block, not a closure.

fn main() {
    let _: u8 = payi::track_context!(user_id = 1, || 1);
}
