//! The value of the block is the value of the macro.

fn main() {
    let _: u8 = payi::track_context!(user_id = 1, { "one" });
}
