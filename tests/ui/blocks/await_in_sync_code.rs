//! The compiler says the usual.

async fn ask() -> u8 {
    1
}

fn main() {
    let _: u8 = payi::track_context!(user_id = 1, { ask().await });
}
