//! Every mistake of an invocation shows, those of types too, and the function stays usable.

use payi::track;

struct Id;

#[track(usr_id = id, user_id = Id, limit_ids = "free", use_case_version = "2", user_id = 7)]
fn ask(id: u64) -> u64 {
    id
}

fn main() {
    let _: u64 = ask(1);
}
