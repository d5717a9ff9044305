//! A service that keeps its own data with diesel: waits for the client wrapper to be written.
fn main() {}
