//! A struct of properties must be serialisable.

struct Properties {
    plan: &'static str,
}

fn main() {
    let properties = Properties { plan: "pro" };
    payi::track_context!(request_properties = properties, { drop(properties.plan) });
}
