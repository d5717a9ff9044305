//! A float is no id.

fn main() {
    let price = 1.5;
    payi::track_context!(user_id = price, {});
}
