//! A service that keeps its own data with sqlx, in one process with payi's ledger: both link SQLite.

use payi::{reqwest::Client, testing::Provider, track_context};
use sqlx::{Connection, SqliteConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("payi-beside-sqlx-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let ledger = dir.join("payi.db");
    let payi = payi::instrument().ledger(&ledger).start()?;

    let mut own = SqliteConnection::connect("sqlite::memory:").await?;
    sqlx::query("CREATE TABLE users (id TEXT)").execute(&mut own).await?;
    sqlx::query("INSERT INTO users VALUES ('u-7')").execute(&mut own).await?;
    let user: String = sqlx::query_scalar("SELECT id FROM users").fetch_one(&mut own).await?;

    let provider = Provider::start()?;
    let answer = track_context!(user_id = user, {
        let body = r#"{"model": "gpt-4o-mini", "messages": []}"#;
        Client::new().post(format!("{}/v1/chat/completions", provider.url())).body(body).send().await?.text().await?
    });
    assert!(answer.contains("choices"));
    payi.shutdown().await?;

    let mut theirs = SqliteConnection::connect(&format!("sqlite:{}?mode=ro", ledger.display())).await?;
    let calls: i64 = sqlx::query_scalar("SELECT count(*) FROM facts").fetch_one(&mut theirs).await?;
    assert_eq!(calls, 1, "the call is not in the ledger");
    theirs.close().await?;
    std::fs::remove_dir_all(&dir)?;
    println!("payi and sqlx share one SQLite: {calls} call on record for {user}");
    Ok(())
}
