//! The compiler says the usual, at the usual place.

async fn caller() -> u8 {
    payi::track_context!(user_id = 1, {
        let one = 1_u8;
        one.await
    })
}

fn main() {
    drop(caller());
}
