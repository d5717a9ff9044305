//! A service that keeps its own data with diesel, in one process with payi's ledger: both link SQLite.

use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, connection::SimpleConnection, sql_query, sql_types};
use payi::{reqwest::Client, testing::Provider, track_context};

#[derive(QueryableByName)]
struct User {
    #[diesel(sql_type = sql_types::Text)]
    id: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = sql_types::BigInt)]
    calls: i64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("payi-beside-diesel-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let ledger = dir.join("payi.db");
    let payi = payi::instrument().ledger(&ledger).start()?;

    let mut own = SqliteConnection::establish(":memory:")?;
    own.batch_execute("CREATE TABLE users (id TEXT); INSERT INTO users VALUES ('u-7')")?;
    let user: User = sql_query("SELECT id FROM users").get_result(&mut own)?;

    let provider = Provider::start()?;
    let answer = track_context!(user_id = user.id, {
        let body = r#"{"model": "gpt-4o-mini", "messages": []}"#;
        Client::new().post(format!("{}/v1/chat/completions", provider.url())).body(body).send().await?.text().await?
    });
    assert!(answer.contains("choices"));
    payi.shutdown().await?;

    let mut theirs = SqliteConnection::establish(&ledger.to_string_lossy())?;
    let count: Count = sql_query("SELECT count(*) AS calls FROM facts").get_result(&mut theirs)?;
    assert_eq!(count.calls, 1, "the call is not in the ledger");
    drop(theirs);
    std::fs::remove_dir_all(&dir)?;
    println!("payi and diesel share one SQLite: {} call on record for {}", count.calls, user.id);
    Ok(())
}
