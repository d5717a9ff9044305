//! There is nothing to track in a signature.

pub trait Agent {
    /// Asks.
    #[payi::track(user_id = 1)]
    fn ask(&self);
}

fn main() {}
