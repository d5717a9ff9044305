//! Under test is payi-core: this package has code in `tests/` only.
