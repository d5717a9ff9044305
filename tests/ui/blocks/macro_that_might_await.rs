//! A macro that is not known, in a block that awaits.

macro_rules! pause {
    () => {
        std::future::ready(()).await
    };
}

async fn caller() -> u8 {
    payi::track_context!(user_id = 1, {
        std::future::ready(()).await;
        pause!();
        1
    })
}

fn main() {
    drop(caller());
}
