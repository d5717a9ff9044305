//! A service whose settings are in a file that the environment names.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

use payi::{
    ledger::{Filter, Ledger},
    testing::{PayI, Provider},
};

const CHILD: &str = "PAYI_TEST_CONFIG_PROVIDER";

/// The service: it sets nothing but what the builder says.
fn serve(provider: &str) {
    let guard = payi::instrument().use_case_name("answer").start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("{provider}/v1/chat/completions");
        let body = r#"{"model":"house-model","messages":[{"role":"user","content":"hi"}]}"#;
        let answer = payi::reqwest::Client::new().post(url).body(body).send().await.unwrap();
        answer.bytes().await.unwrap();
        guard.shutdown().await.unwrap();
    });
}

#[test]
fn settings_from_a_file_stand_below_the_builder_and_the_environment() {
    if let Ok(provider) = std::env::var(CHILD) {
        return serve(&provider);
    }
    let dir = std::env::temp_dir().join(format!("payi-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (pay_i, provider) = (PayI::start().unwrap(), Provider::start().unwrap());
    provider.next(payi::testing::Answer::json(
        r#"{"id":"x","model":"house-model","usage":{"prompt_tokens":1000000,"completion_tokens":0}}"#,
    ));
    let file = dir.join("payi.toml");
    let text = format!(
        "ledger = {:?}\nbase_url = \"http://127.0.0.1:1\"\napi_key = \"of-the-file\"\n
         [context]\naccount_name = \"acme\"\nuse_case_name = \"of-the-file\"\n
         [[price]]\nprovider = \"openai\"\nmodel = \"house-model\"\ninput = 3\noutput = 9\n",
        dir.join("l.db")
    );
    std::fs::write(&file, text).unwrap();
    let run = || {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "settings_from_a_file_stand_below_the_builder_and_the_environment"]);
        child.env(CHILD, provider.url()).env("PAYI_CONFIG", &file).env("PAYI_BASE_URL", pay_i.url());
        child.env_remove("PAYI_LEDGER").env_remove("PAYI_API_KEY");
        child.output().unwrap()
    };
    assert!(run().status.success());
    let report = Ledger::open_read_only(dir.join("l.db")).unwrap().users(&Filter::new()).unwrap();
    assert_eq!(report.total.cost.to_string(), "3", "by the file's price");
    assert_eq!(report.rows[0].account_name.as_deref(), Some("acme"));
    let sent = &pay_i.requests()[0]; // the environment's address
    assert_eq!(sent.header("xproxy-api-key"), Some("of-the-file"));
    assert_eq!(sent.header("xproxy-usecase-name"), Some("answer"), "the builder's");

    std::fs::write(&file, "ledgr = \"x.db\"\n").unwrap();
    let said = run();
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.contains("unknown option `ledgr`; did you mean `ledger`?"), "{said}");
    std::fs::remove_dir_all(dir).unwrap();
}
