//! A service that keeps its own data with sqlx, in the same process as payi's ledger.

use sqlx::{Connection, SqliteConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("payi-beside-sqlx-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let ledger = dir.join("payi.db");
    let payi = payi::instrument().ledger(&ledger).start()?;

    let mut own = SqliteConnection::connect("sqlite::memory:").await?;
    sqlx::query("CREATE TABLE users (id TEXT PRIMARY KEY)").execute(&mut own).await?;
    sqlx::query("INSERT INTO users VALUES ('u-7')").execute(&mut own).await?;
    let user: String = sqlx::query_scalar("SELECT id FROM users").fetch_one(&mut own).await?;

    payi.shutdown().await?;
    assert_eq!(user, "u-7");
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
