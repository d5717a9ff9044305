//! Experiences were renamed.

#[payi::track(experience_name = "chat")]
fn ask() {}

fn main() {
    ask();
}
