//! A variable of text is no list.

fn main() {
    let limit = String::from("free");
    payi::track_context!(limit_ids = limit, {});
}
