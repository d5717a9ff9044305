//! Scopes across awaits are `Send`, nested and joined ones too.

#![deny(warnings)]

#[payi::track(user_id = user)]
async fn caller(user: String) -> usize {
    payi::track_context!(account_name = "acme", {
        std::future::ready(()).await;
        let inner = payi::track_context!(request_tags = ["a"], {
            let (a, b) = futures::join!(std::future::ready(1), async { 2 });
            a + b
        });
        inner + user.len()
    })
}

fn is_send<T: Send>(value: T) -> T {
    value
}

fn main() {
    assert_eq!(futures::executor::block_on(is_send(caller("ann".to_owned()))), 6);
}
