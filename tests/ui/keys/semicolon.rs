//! Arguments are separated by commas.

fn main() {
    payi::track_context! { user_id = 1; account_name = "acme"; {} }
}
