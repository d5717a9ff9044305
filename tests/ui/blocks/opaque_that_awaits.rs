//! What awaits is not opaque.

macro_rules! same {
    ($call:expr) => {
        $call
    };
}

async fn caller() -> u8 {
    payi::track_context!(user_id = 1, { payi::opaque!(same!(std::future::ready(1).await)) })
}

fn main() {
    drop(caller());
}
