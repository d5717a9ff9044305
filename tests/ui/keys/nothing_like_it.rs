//! A key that is like none: all are shown.

fn main() {
    payi::track_context!(colour = "red", {});
}
