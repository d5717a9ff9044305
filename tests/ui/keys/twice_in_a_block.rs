//! A key is set twice in a block.

fn main() {
    let user_id = 1;
    payi::track_context!(user_id, account_name = "acme", user_id = 2, {});
}
