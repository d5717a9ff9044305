//! Any delimiter, and a comma after anything.

#![deny(warnings)]

fn main() {
    let user_id = 1;
    payi::track_context!(user_id, { assert!(payi::current().user_id().is_some()) },);
    payi::track_context! { user_id = user_id, account_name = "acme", {} }
    payi::track_context![limit_ids = [], {}];
    payi::track_context!({});
}
