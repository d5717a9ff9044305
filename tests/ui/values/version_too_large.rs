//! A version fits into a `u32`.

#[payi::track(use_case_name = "chat", use_case_version = 4294967296)]
fn ask() {}

fn main() {
    ask();
}
