//! Required attribution: who forgot, and on which line.

#![allow(clippy::unwrap_used, reason = "tests")]

use payi::{
    Key,
    events::Settings,
    testing::{Provider, Recorder},
};

use crate::support::alone;

async fn ask(http: &payi::reqwest::Client, provider: &Provider) -> Result<(), payi::reqwest::Error> {
    let request = http.post(format!("{}/v1/chat/completions", provider.url()));
    let answer = request.body(r#"{"model":"gpt-4o","messages":[]}"#).send().await?;
    answer.bytes().await?;
    Ok(())
}

/// The line in `ask` that calls `send`.
const SENDS: &str = "required.rs:15:";

#[tokio::test]
async fn a_call_for_nobody_fails_in_a_test_and_says_where_it_was_made() {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    let recorder = Recorder::new().require([Key::UserId, Key::AccountName]);
    let refused = recorder.scope(ask(&http, &provider)).await.unwrap_err();
    assert!(refused.as_payi().is_some_and(payi::Error::is_unattributed), "{refused}");
    let said = refused.to_string();
    assert!(said.contains(SENDS) && said.contains("user_id, account_name"), "{said}");
    assert!(provider.requests().is_empty(), "it never left");

    let attributed = async {
        payi::track_context!(user_id = "u-1", account_name = "acme", { ask(&http, &provider).await })
    };
    recorder.scope(attributed).await.unwrap();
    assert_eq!(recorder.events().len(), 1);
}

#[test]
fn what_the_program_requires_its_tests_require_too() {
    alone("required::what_the_program_requires_its_tests_require_too", || {
        let _payi = payi::instrument().in_memory().require([Key::UserId]).start().unwrap();
        let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let refused = runtime.block_on(Recorder::new().scope(ask(&http, &provider))).unwrap_err();
        assert!(refused.as_payi().is_some_and(payi::Error::is_unattributed), "{refused}");
        runtime.block_on(ask(&http, &provider)).unwrap();
        assert_eq!(provider.requests().len(), 1, "what is no test goes through");
    });
}

#[tokio::test]
async fn in_production_it_goes_through_and_is_noted() {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    let mut settings = Settings::default();
    settings.require = [Key::UserId].into_iter().collect();
    let recorder = Recorder::new().settings(settings);
    recorder.scope(ask(&http, &provider)).await.unwrap();
    let known = async { payi::track_context!(user_id = "u-1", { ask(&http, &provider).await }) };
    recorder.scope(known).await.unwrap();
    let [unknown, known] = recorder.take().try_into().unwrap();
    assert_eq!(unknown.context.unattributed().to_string(), "user_id");
    let site = unknown.context.call_site().unwrap().to_string();
    assert!(site.contains(SENDS), "{site}");
    assert!(known.context.unattributed().is_empty());
}
