//! Borrows are checked as in any block.

fn main() {
    let kept: &String = payi::track_context!(user_id = 1, {
        let made = String::new();
        &made
    });
    drop(kept);
}
