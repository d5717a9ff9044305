//! Foreign callers know no scopes.

#[payi::track(user_id = 1)]
pub extern "C" fn one() -> u8 {
    1
}

fn main() {
    one();
}
