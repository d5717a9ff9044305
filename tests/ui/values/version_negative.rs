//! A version is not negative.

#[payi::track(use_case_name = "chat", use_case_version = -1)]
fn ask() {}

fn main() {
    ask();
}
