//! A service whose settings are in a file that the environment names.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{path::Path, process::Command, sync::Arc};

use payi::{
    ledger::{Filter, Ledger, LedgerStore},
    limits::{Limit, Limits, Subject},
    testing::{Answer, PayI, Provider},
};

const CHILD: &str = "PAYI_TEST_CONFIG_PROVIDER";
/// What a refused call exits with.
const REFUSED: i32 = 7;

/// The service: it sets nothing but what the builder says.
fn serve(provider: &str) {
    let guard = payi::instrument().use_case_name("answer").start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(async {
        let url = format!("{provider}/v1/chat/completions");
        let body = r#"{"model":"house-model","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}"#;
        let sent = payi::reqwest::Client::new().post(url).body(body).send().await;
        let refused = sent.as_ref().is_err_and(payi::reqwest::Error::is_limit);
        if !refused {
            sent.unwrap().bytes().await.unwrap();
        }
        guard.shutdown().await.unwrap();
        refused
    });
    if refused {
        std::process::exit(REFUSED);
    }
}

/// Runs `test` again as the service, with its settings in `file`.
fn service(test: &str, provider: &Provider, file: &Path) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test]).env(CHILD, provider.url()).env("PAYI_CONFIG", file);
    child.env_remove("PAYI_LEDGER").env_remove("PAYI_API_KEY").env_remove("PAYI_BASE_URL");
    child
}

/// An answer that costs three dollars by the files' price.
fn answer() -> Answer {
    Answer::json(
        r#"{"id":"x","model":"house-model","usage":{"prompt_tokens":1000000,"completion_tokens":0}}"#,
    )
}

#[test]
fn settings_from_a_file_stand_below_the_builder_and_the_environment() {
    if let Ok(provider) = std::env::var(CHILD) {
        return serve(&provider);
    }
    let dir = std::env::temp_dir().join(format!("payi-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (pay_i, provider) = (PayI::start().unwrap(), Provider::start().unwrap());
    provider.next(answer());
    let file = dir.join("payi.toml");
    let text = format!(
        "ledger = {:?}\nbase_url = \"http://127.0.0.1:1\"\napi_key = \"of-the-file\"\n
         [context]\naccount_name = \"acme\"\nuse_case_name = \"of-the-file\"\n
         [[price]]\nprovider = \"openai\"\nmodel = \"house-model\"\ninput = 3\noutput = 9\n",
        dir.join("l.db")
    );
    std::fs::write(&file, text).unwrap();
    let run = || {
        let name = "settings_from_a_file_stand_below_the_builder_and_the_environment";
        service(name, &provider, &file).env("PAYI_BASE_URL", pay_i.url()).output().unwrap()
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

/// The limits of a file are put in force at each start, and nothing that was spent is forgotten.
#[test]
fn limits_of_a_file_hold_from_one_start_to_the_next() {
    if let Ok(provider) = std::env::var(CHILD) {
        return serve(&provider);
    }
    let dir = std::env::temp_dir().join(format!("payi-config-limits-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (file, ledger) = (dir.join("payi.toml"), dir.join("l.db"));
    let provider = Provider::start().unwrap();
    let start = |limit: &str| {
        provider.next(answer());
        let text = format!(
            "ledger = {ledger:?}\n[context]\nuser_id = \"ada\"\n[[limit]]\nid = \"per-user\"\n{limit}\n
             [[price]]\nprovider = \"openai\"\nmodel = \"house-model\"\ninput = 3\noutput = 9\n"
        );
        std::fs::write(&file, text).unwrap();
        service("limits_of_a_file_hold_from_one_start_to_the_next", &provider, &file).output().unwrap()
    };
    let limits = || Limits::of(Arc::new(LedgerStore::new(Ledger::open(&ledger).unwrap())));
    let ada = Subject::new("ada", "");
    let stands = || {
        let standing = limits().standing("per-user", &ada).unwrap().unwrap();
        (standing.settled / 1_000_000_000_000, standing.max / 1_000_000_000_000)
    };

    assert!(start("usd = 10\neach = \"user\"").status.success());
    assert_eq!(stands(), (3, 10));
    assert!(start("usd = 10\neach = \"user\"").status.success());
    assert_eq!(stands(), (6, 10), "of both starts");
    assert_eq!(start("usd = 5\neach = \"user\"").status.code(), Some(REFUSED));
    assert_eq!(stands(), (6, 5), "the new maximum holds, for what was spent before it");
    let sent = provider.requests().len();
    assert_eq!(sent, 2, "what was refused was not sent");

    // Another maximum for ada, as `payi limits override` makes it: the file says nothing of overrides.
    let raised = |limit: &Limit| limit.clone().override_for("ada", "", "20".parse().unwrap());
    limits().change::<payi::Error>("per-user", |old| Ok(raised(&old.unwrap().limit))).unwrap();
    assert!(start("usd = 5\neach = \"user\"").status.success());
    assert_eq!(stands(), (9, 20));

    let said = start("usd = 5\neach = \"person\"");
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.contains("payi.toml: line 7: `each` is"), "{said}");
    std::fs::remove_dir_all(dir).unwrap();
}
