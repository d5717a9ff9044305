//! `skip` is an exception to something.

struct Service;

impl Service {
    #[payi::track(skip)]
    fn hello(&self) {}
}

fn main() {
    Service.hello();
}
