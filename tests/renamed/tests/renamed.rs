//! The macros where the dependency has another name: `track_context!` finds it by itself, `#[track]` is told.

use futures::{FutureExt as _, executor::block_on, future::BoxFuture};
use metered::{track, track_context};

fn who() -> String {
    metered::current().user_id().map_or_else(|| "-".into(), String::from)
}

#[track(crate = metered, user_id = user)]
async fn ask(user: &str) -> String {
    track_context!(account_name = [user, "+"].concat(), limit_ids = ["free"], {
        let seen = track_context!(request_properties = [("user", user)], { async { who() }.await });
        let (a, b) = futures::join!(async { who() }, async { who() });
        let c = futures::select! { c = async { who() }.boxed().fuse() => c };
        [seen, a, b, c].join(" ")
    })
}

struct Service(u8);

#[track(crate = metered, user_id = self.0)]
impl Service {
    fn later(&self) -> BoxFuture<'static, String> {
        Box::pin(async { who() })
    }

    #[track(crate = metered, account_name = "own")]
    fn own(&self) -> (u8, String) {
        (self.0, who())
    }
}

#[test]
fn no_path_of_theirs_says_payi() {
    assert_eq!(block_on(ask("ann")), "ann ann ann ann");
    assert_eq!(block_on(Service(7).later()), "7");
    assert_eq!(Service(8).own(), (8, "8".to_owned()));
    assert!(metered::inventory().iter().any(|site| site.function == "ask"));
}
