//! A version is a whole number.

#[payi::track(use_case_name = "chat", use_case_version = 1.2)]
fn ask() {}

fn main() {
    ask();
}
