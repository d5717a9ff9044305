//! A mistake in the body shows where it is.

#[payi::track(user_id = 1)]
async fn answer() -> Result<String, String> {
    if true {
        return Ok(1);
    }
    Ok(2)
}

fn main() {
    drop(answer());
}
