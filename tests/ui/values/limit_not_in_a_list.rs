//! One limit is a list of one.

fn main() {
    payi::track_context!(limit_ids = "free", request_tags = "a", {});
}
