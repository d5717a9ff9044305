//! The values of a block are evaluated in every method.

struct Service;

#[payi::track(user_id = user, account_name = self.name())]
impl Service {
    fn hello(&self, user: u64) -> u64 {
        user
    }

    fn name(&self) -> &'static str {
        "acme"
    }
}

fn main() {
    Service.hello(1);
}
