//! All mistakes show, and only ours.

#[payi::track(user = 1, use_case_name = "a b")]
const fn one() -> u8 {
    1
}

fn main() {
    one();
}
