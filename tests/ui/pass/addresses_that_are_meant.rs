//! `allow_pii` lets addresses through.

#![deny(warnings)]

#[payi::track(allow_pii, account_name = "team@example.com")]
fn ask() {
    payi::track_context!(user_id = "ann@example.com", allow_pii, {});
}

fn main() {
    ask();
}
