//! A name is not empty.

#[payi::track(use_case_name = "")]
fn ask() {}

fn main() {
    ask();
}
