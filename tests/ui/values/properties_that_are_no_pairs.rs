//! Properties are pairs.

fn main() {
    payi::track_context!(request_properties = ["plan", "pro"], use_case_properties = ("plan", "pro"), {});
}
