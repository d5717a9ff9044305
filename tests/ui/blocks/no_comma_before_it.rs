//! The comma before the block is missing.

fn main() {
    let user = 1;
    let _: u8 = payi::track_context!(user_id = user { 1 });
}
