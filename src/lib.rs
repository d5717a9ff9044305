//! placeholder
pub use payi_core::{Error, Result};
