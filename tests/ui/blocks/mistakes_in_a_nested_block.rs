//! A block inside a block speaks for itself.

async fn ask() -> u8 {
    1
}

async fn caller() -> u8 {
    payi::track_context!(user_id = 1, {
        payi::track_context!(usr_id = 2, { ask().await })
    })
}

fn main() {
    drop(caller());
}
