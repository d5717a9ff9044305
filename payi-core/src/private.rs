//! What `payi-macros` expands to. Not public API: it may change in any release.
