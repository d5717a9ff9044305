//! A version is a `u32`.

fn main() {
    let version: i64 = 2;
    payi::track_context!(use_case_name = "chat", use_case_version = version, {});
}
