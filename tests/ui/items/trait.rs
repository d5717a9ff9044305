//! A trait is tracked method by method.

#[payi::track(user_id = 1)]
pub trait Agent {
    fn ask(&self) {}
}

fn main() {}
