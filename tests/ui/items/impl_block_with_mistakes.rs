//! The mistakes of a block show once, not once for each method.

struct Service;

#[payi::track(usr_id = 1, use_case_version = "x", returns = value)]
impl Service {
    fn one(&self) {}
    fn two(&self) {}
}

fn main() {
    Service.one();
    Service.two();
}
