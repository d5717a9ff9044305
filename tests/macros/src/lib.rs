//! Under test are the macros: this package has code in `tests/` only.
