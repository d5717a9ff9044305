//! A value alone.

#[payi::track("chat")]
fn ask() {}

fn main() {
    ask();
}
