//! A macro that is not known, and awaits.

macro_rules! retry {
    ($call:expr) => {
        $call
    };
}

async fn ask() -> u8 {
    1
}

async fn caller() -> u8 {
    payi::track_context!(user_id = 1, { retry!(ask().await) })
}

fn main() {
    drop(caller());
}
