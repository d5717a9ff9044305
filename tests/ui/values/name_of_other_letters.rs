//! A name is of ASCII letters.

#[payi::track(use_case_name = "résumé")]
fn ask() {}

fn main() {
    ask();
}
