//! Words of other tools lead to ours.

fn main() {
    payi::track_context!(tenant = "acme", tags = ["a"], feature = "chat", {});
}
