//! What is returned may run later: the macro asks.

#[payi::track(user_id = 1)]
fn hello() -> impl std::fmt::Display {
    "hello"
}

fn main() {
    println!("{}", hello());
}
