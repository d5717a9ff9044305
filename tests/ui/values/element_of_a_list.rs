//! Each element is checked by itself.

struct Plan;

fn main() {
    let plan = Plan;
    payi::track_context!(limit_ids = ["free", plan], request_properties = [("plan", plan)], {});
}
