//! There is nothing at all.

fn main() {
    payi::track_context!();
}
