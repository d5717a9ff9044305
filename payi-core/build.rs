//! Builds nothing. Cargo wants a build script where a manifest has `links`, and `links = "payi-core"` is
//! there so that a program cannot hold two versions of this package: each would have a context and a
//! pipeline of its own, and a call made through one would not see the scopes opened through the other.
//! With it, Cargo says so while it resolves, and names who asks for which version.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
