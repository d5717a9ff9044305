//! Values have no sigils, as those of `tracing` have.

fn main() {
    let user = 1;
    payi::track_context!(user_id = %user, account_name = ?user, {});
    payi::track_context!(%user, {});
}
