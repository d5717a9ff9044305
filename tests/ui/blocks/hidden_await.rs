//! An await that no macro can see does not compile where the future must be `Send`.

macro_rules! pause {
    () => {
        std::future::ready(()).await
    };
}

async fn caller() {
    payi::track_context!(user_id = 1, {
        pause!();
    });
}

fn is_send<T: Send>(_: T) {}

fn main() {
    is_send(caller());
}
