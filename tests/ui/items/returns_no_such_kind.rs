//! There are four kinds.

#[payi::track(user_id = 1, returns = display)]
fn hello() -> impl std::fmt::Display {
    "hello"
}

fn main() {
    println!("{}", hello());
}
