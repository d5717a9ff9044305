//! A function that returns nothing returns no future.

#[payi::track(user_id = 1, returns = future)]
fn hello() {}

fn main() {
    hello();
}
