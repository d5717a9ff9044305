//! A name without spaces.

#[payi::track(use_case_name = "my chat")]
fn ask() {}

fn main() {
    ask();
}
