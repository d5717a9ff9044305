//! A version is a `u32`.

#[payi::track(use_case_name = "chat", use_case_version = 2u64)]
fn ask() {}

fn main() {
    ask();
}
