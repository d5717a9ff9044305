//! Limit ids cannot hold commas: they would be two.

fn main() {
    payi::track_context!(limit_ids = ["free, trial", "other"], {});
}
