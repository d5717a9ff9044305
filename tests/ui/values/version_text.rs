//! A version is a number.

#[payi::track(use_case_name = "chat", use_case_version = "2")]
fn ask() {}

fn main() {
    ask();
}
