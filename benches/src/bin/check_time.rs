//! Target 13: what an annotated function adds to `cargo check`, beside tracing's and fastrace's attributes.
//!
//! Writes one crate per attribute with two hundred functions, checks each once so that what it depends on
//! is done, then checks them in turn after a change, and compares medians with a crate without attributes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use payi_bench::median;

const FUNCTIONS: usize = 200;
const ROUNDS: usize = 9;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A crate whose functions carry one attribute.
struct Annotated {
    name: &'static str,
    dependencies: String,
    attribute: &'static str,
}

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let payi = format!("payi = {{ path = '{}', default-features = false }}", root.display());
    let payi_track = "#[payi::track(use_case_name = \"summarize\", limit_ids = [plan])]";
    let tracing = "#[tracing::instrument(fields(use_case = \"summarize\"))]";
    let fastrace = "#[fastrace::trace(properties = { \"plan\": \"{plan}\", \"use_case\": \"summarize\" })]";
    let all = [
        Annotated { name: "plain", dependencies: String::new(), attribute: "" },
        Annotated { name: "payi", dependencies: payi, attribute: payi_track },
        Annotated { name: "tracing", dependencies: "tracing = \"0.1\"".to_owned(), attribute: tracing },
        Annotated {
            name: "fastrace",
            dependencies: "fastrace = { version = \"0.7\", features = [\"enable\"] }".to_owned(),
            attribute: fastrace,
        },
    ];
    let place = root.join("target/check-time");
    let made: Vec<_> = all.iter().map(|it| write(it, &place, &root)).collect::<Result<_>>()?;
    for (it, dir) in all.iter().zip(&made) {
        check(dir).map_err(|error| format!("{}: {error}", it.name))?;
    }
    let mut times = vec![Vec::new(); all.len()];
    for _ in 0..ROUNDS {
        for (dir, times) in made.iter().zip(&mut times) {
            let source = dir.join("src/lib.rs");
            fs::write(&source, fs::read_to_string(&source)? + "\n")?;
            times.push(check(dir)?.as_secs_f64() * 1e3);
        }
    }
    let medians: Vec<_> = times.iter_mut().map(|times| median(times)).collect();
    let plain = medians.first().copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "two hundred")]
    let per = |name: &str| {
        let at = all.iter().position(|it| it.name == name).and_then(|at| medians.get(at));
        at.map_or(f64::NAN, |time| (time - plain) / FUNCTIONS as f64)
    };
    println!(
        "evidence bench-context: target 13 cargo check per annotated fn {:.2} ms (≤ 2.0; fastrace {:.2}, tracing {:.2}; \
         {FUNCTIONS} async fns, median of {ROUNDS})",
        per("payi"),
        per("fastrace"),
        per("tracing"),
    );
    Ok(())
}

fn write(it: &Annotated, place: &Path, root: &Path) -> Result<PathBuf> {
    let dir = place.join(it.name);
    fs::create_dir_all(dir.join("src"))?;
    let manifest = format!(
        "[package]\nname = \"check-{}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[dependencies]\n{}\n[workspace]\n",
        it.name, it.dependencies
    );
    fs::write(dir.join("Cargo.toml"), manifest)?;
    // The versions that the rest of the benchmarks use.
    fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock"))?;
    let functions = (0..FUNCTIONS).map(|n| {
        format!(
            "{}\npub async fn f{n}(plan: &str, text: String) -> Result<usize, std::num::ParseIntError> {{\n    \
             let n: usize = text.trim().parse()?;\n    std::future::ready(()).await;\n    Ok(n + plan.len() + {n})\n}}\n",
            it.attribute
        )
    });
    fs::write(dir.join("src/lib.rs"), functions.collect::<String>())?;
    Ok(dir)
}

fn check(dir: &Path) -> Result<Duration> {
    let started = Instant::now();
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output =
        Command::new(cargo).args(["check", "--quiet"]).current_dir(dir).stdout(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(started.elapsed())
}
