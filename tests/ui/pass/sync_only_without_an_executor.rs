//! A sync program needs nothing else.

#![deny(warnings)]
#![forbid(unsafe_code)]

#[payi::track]
fn ask() -> Option<u8> {
    let text = payi::track_context!(user_id = 1, {
        let first = "7".chars().next()?;
        first.to_digit(10)?
    });
    u8::try_from(text).ok()
}

fn main() {
    assert_eq!(ask(), Some(7));
}
