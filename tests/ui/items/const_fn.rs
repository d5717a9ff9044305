//! A `const fn` may run in the compiler.

#[payi::track(user_id = 1)]
const fn one() -> u8 {
    1
}

const ONE: u8 = one();

fn main() {
    let _ = ONE;
}
