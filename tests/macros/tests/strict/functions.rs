//! `#[track]` on every place a function can be.

use std::sync::Arc;

use futures::executor::block_on;
use payi::{track, Key};

use super::{call, turn, who};

fn account() -> String {
    payi::current().account_name().map_or_else(|| "-".into(), String::from)
}

fn use_case() -> String {
    payi::current().use_case_name().map_or_else(|| "-".into(), String::from)
}

trait Agent {
    const PLAN: &'static str;

    /// Has a body in the trait.
    #[track(user_id = user, account_name = Self::PLAN)]
    fn given(&self, user: &str) -> String {
        format!("{user}={}@{}", who(), account())
    }

    /// A native async method.
    async fn native(&self, user: &str) -> String;
}

struct Bot(&'static str);

impl Agent for Bot {
    const PLAN: &'static str = "pro";

    #[track(user_id = user, account_name = self.0)]
    async fn native(&self, user: &str) -> String {
        turn().await;
        format!("{}@{}", call().await, account())
    }
}

#[test]
fn methods_of_traits() {
    assert_eq!(Bot("acme").given("ann"), "ann=ann@pro");
    assert_eq!(block_on(Bot("acme").native("ann")), "ann@acme");
}

#[async_trait::async_trait]
trait Boxed: Sync {
    async fn ask(&self, user: String) -> Result<String, String>;

    #[track(user_id = user)]
    async fn provided(&self, user: String) -> String {
        call().await
    }
}

#[async_trait::async_trait]
impl Boxed for Bot {
    #[track(user_id = user, account_name = self.0)]
    async fn ask(&self, user: String) -> Result<String, String> {
        turn().await;
        if user.is_empty() {
            return Err(who());
        }
        Ok(format!("{}@{}", call().await, account()))
    }
}

struct Outer(&'static str);
struct Inner(&'static str);

#[track(account_name = self.0)]
#[async_trait::async_trait]
impl Boxed for Outer {
    async fn ask(&self, user: String) -> Result<String, String> {
        turn().await;
        Ok(format!("{user}@{}", account()))
    }
}

#[async_trait::async_trait]
#[track(account_name = self.0)]
impl Boxed for Inner {
    #[track(user_id = user)]
    async fn ask(&self, user: String) -> Result<String, String> {
        turn().await;
        Ok(format!("{}@{}", call().await, account()))
    }
}

#[test]
fn async_trait_in_either_order() {
    let agents: [Arc<dyn Boxed>; 3] = [Arc::new(Bot("a")), Arc::new(Outer("b")), Arc::new(Inner("c"))];
    let asked: Vec<_> = agents.iter().map(|agent| block_on(agent.ask("ann".into()))).collect();
    assert_eq!(asked, [Ok("ann@a".into()), Ok("ann@b".into()), Ok("ann@c".into())]);
    assert_eq!(block_on(agents[0].ask(String::new())), Err("-".into()), "an empty id clears");
    assert_eq!(block_on(agents[2].provided("bob".into())), "bob");
}

struct Service {
    tenant: String,
    asked: u32,
}

#[track(account_name = self.tenant, use_case_name = "service")]
impl Service {
    const fn new(tenant: String) -> Self {
        Self { tenant, asked: 0 }
    }

    fn asked(&mut self) -> (String, u32) {
        self.asked += 1;
        (account(), self.asked)
    }

    #[track(use_case_name = "own", user_id = user)]
    async fn own(&self, user: u64) -> String {
        turn().await;
        format!("{}@{}/{}", call().await, account(), use_case())
    }

    #[track]
    fn bare(&self) -> String {
        assert!(!self.tenant.is_empty());
        format!("{}/{}", account(), use_case())
    }

    #[track(skip)]
    fn skipped(&self) -> String {
        format!("{}{}", account(), self.asked)
    }

    fn done(self) -> String {
        self.tenant + &account()
    }
}

#[track]
impl Bot {
    fn r#match(&self) -> String {
        format!("{}{}", self.0, use_case())
    }
}

#[test]
fn impl_blocks_hand_their_keys_down() {
    let mut service = Service::new("acme".into());
    assert_eq!(service.asked(), ("acme".into(), 1));
    assert_eq!(block_on(service.own(7)), "7@acme/own");
    assert_eq!(service.bare(), "acme/bare");
    assert_eq!(service.skipped(), "-1");
    assert_eq!(service.done(), "acmeacme");
    assert_eq!(Bot("b").r#match(), "bmatch");
}

macro_rules! tracked {
    ($name:ident, $user:expr) => {
        #[track(user_id = $user, use_case_name = "by_macro")]
        fn $name() -> String {
            payi::track_context!(account_name = $user, { format!("{}@{}", who(), account()) })
        }
    };
}
tracked!(made_by_a_macro, String::from("ann"));

#[test]
fn functions_made_by_macros() {
    assert_eq!(made_by_a_macro(), "ann@ann");
}

#[track(user_id = user[0], use_case_name = "u", use_case_version = version)]
#[must_use]
#[inline]
fn attributes<const N: usize>(
    user: [&str; N],
    version: Option<u32>,
    mut list: Vec<u8>,
) -> (String, Option<u32>)
where
    [u8; N]: Default,
{
    list.push(1);
    (who(), payi::current().use_case_version())
}

#[test]
fn attributes_and_generics_survive() {
    assert_eq!(attributes(["ann"], Some(3), Vec::new()), ("ann".into(), Some(3)));
    assert_eq!(attributes(["ann", "bob"], None, vec![2]), ("ann".into(), None));
}

#[test]
fn every_site_is_in_the_inventory() {
    let sites = payi::inventory();
    let own = sites.iter().find(|site| site.function == "own");
    assert!(own.is_some_and(|site| {
        site.file.ends_with("functions.rs")
            && site.line > 100
            && site.literal("use_case_name") == Some("own")
            && site.literal("user_id").is_none()
            && site.keys.iter().any(|key| key.key == Key::AccountName.name())
    }));
    assert!(sites
        .iter()
        .any(|site| site.function == "match" && site.literal("use_case_name") == Some("match")));
}

#[track(use_case_name = "contract", use_case_version = 1)]
fn first_version() {}

#[track(use_case_name = "contract", use_case_version = 2)]
fn second_version() {
    first_version();
}

#[test]
fn one_use_case_with_two_versions_is_found() {
    second_version();
    let conflicts = payi::conflicting_versions();
    assert_eq!(conflicts.len(), 1);
    assert_eq!((conflicts[0].use_case_name, conflicts[0].sites.len()), ("contract", 2));
    assert!(conflicts[0].to_string().contains("1 in strict::functions::first_version"));
}
