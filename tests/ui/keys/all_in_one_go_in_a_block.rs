//! Every mistake of a block shows, and its value keeps its type.

struct Id;

fn main() {
    let one: u8 = payi::track_context!(usr_id = 1, account_name = Id, use_case_name = "my chat", { 1 });
    let _ = one;
}
