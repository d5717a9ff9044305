//! A future that leaves the block unpolled would lose its user.

use futures::FutureExt as _;
use payi::InContext as _;

async fn ask() -> u8 {
    1
}

fn main() {
    drop(payi::track_context!(user_id = 1, { async move { ask().await } }));
    drop(payi::track_context!(user_id = 1, {
        let n = 1;
        Box::pin(async move { n })
    }));
    drop(payi::track_context!(user_id = 1, { async { ask().await }.boxed().fuse() }));
    drop(payi::track_context!(user_id = 1, { async { ask().await }.in_current_context() }));
}
