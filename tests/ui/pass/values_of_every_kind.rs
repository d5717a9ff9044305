//! Everything that is documented as a value.

#![deny(warnings)]

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

#[derive(Clone, Copy)]
struct Id(u64);

impl payi::ContextValue for Id {
    fn context_value(&self) -> payi::context::Value {
        self.0.context_value()
    }
}

fn main() {
    let (id, name, version) = (Some(Id(7)), Cow::Borrowed("sum"), None::<u32>);
    let tags: Arc<[String]> = Arc::new(["a".to_owned()]);
    let map = BTreeMap::from([("plan", 1)]);
    let pair = ("seats", 3);
    payi::track_context!(
        user_id = id.map(|id| id.0 + 1),
        account_name = &id,
        use_case_name = name,
        use_case_version = version,
        use_case_id = None,
        limit_ids = ["free", &*name, "x"],
        request_tags = &*tags,
        request_properties = [("plan", "pro"), pair, ("half", 0.5), ("none", None)],
        use_case_properties = map,
        price_as_category = payi::Clear,
        proxy = version.is_some(),
        log_prompt_and_response = None,
        {
            assert_eq!(payi::current().user_id().as_deref(), Some("8"));
            assert_eq!(payi::current().request_properties().len(), 4);
        }
    );
    drop((name, tags, map));
}
