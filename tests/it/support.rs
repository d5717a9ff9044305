//! What several topics need.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Set in the process of a test that runs alone; its value is the test's name.
const ALONE: &str = "PAYI_TEST_ALONE";

/// Runs `body` in a process of its own, where `payi::instrument()` disturbs no other test.
///
/// `test` is the full name of the test that calls this, as `--exact` wants it.
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var(ALONE).is_ok_and(|name| name == test) {
        body();
        return;
    }
    let output = child(test).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test} failed in its own process:\n{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "{test} names no test");
    for line in stdout.lines().filter(|line| line.contains("evidence ")) {
        println!("{}", &line[line.find("evidence ").unwrap()..]);
    }
}

/// The process that runs `test` alone, with none of payi's settings from outside.
pub(crate) fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"]).env(ALONE, test);
    for variable in ["PAYI_API_KEY", "PAYI_BASE_URL", "PAYI_LEDGER", "OPENAI_API_KEY", "OPENAI_BASE_URL"] {
        command.env_remove(variable);
    }
    command
}

/// A file of the project's shared material; `None`, loudly, where it is missing.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is missing, so this test proves nothing here", path.display());
    None
}

/// A directory of its own, gone with the value.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new(name: &str) -> Self {
        let unique = format!("payi-{name}-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(unique.replace(['(', ')'], ""));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
