//! A known macro with an await where no expression is.

/// As that of `serde_json`.
macro_rules! json {
    ({ $name:literal: $value:expr }) => {
        ($name, $value)
    };
}

async fn ask() -> u8 {
    1
}

async fn caller() {
    payi::track_context!(user_id = 1, {
        drop(json!({ "answer": ask().await }));
    });
}

fn main() {
    drop(caller());
}
