//! An address is personal data.

fn main() {
    payi::track_context!(user_id = "ann@example.com", request_properties = [("cc", "bob@example.org")], {});
}
