//! Tests of payi with clients too heavy for the main package; see `tests/`.
