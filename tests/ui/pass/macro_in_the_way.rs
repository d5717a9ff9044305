//! Unknown macros that do not await, and are marked.

#![deny(warnings)]

macro_rules! three {
    () => {
        3
    };
}

async fn caller() -> u8 {
    payi::track_context!(user_id = three!(), {
        std::future::ready(()).await;
        payi::opaque!(three!())
    })
}

fn main() {
    assert_eq!(futures::executor::block_on(caller()), 3);
}
