//! A service that keeps its own data with sqlx: waits for the client wrapper to be written.
fn main() {}
