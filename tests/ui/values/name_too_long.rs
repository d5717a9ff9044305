//! A name has at most 64 characters.

#[payi::track(use_case_name = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")]
fn ask() {}

fn main() {
    ask();
}
