//! Targets 1 to 3 in instructions and allocations, payi beside its anchors, as evidence.
//!
//! Runs each case under `valgrind` at two lengths and divides the difference, so that start-up cancels
//! out. callgrind counts the calling thread only; memcheck counts allocations of every thread.

use std::{env, process::Command};

use payi_bench::context::{CASES, case};

const SHORT: u64 = 1_000;
const LONG: u64 = 6_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [name, n] = arguments.as_slice() {
        let case = case(name).ok_or("no such case")?;
        let (n, user) = (n.parse()?, "user-12345".to_owned());
        let setup = (case.setup)();
        measured(case.run, n, &user);
        drop(setup);
        return Ok(());
    }
    let base = instructions("base")?;
    println!("{:34} {:>12} {:>12}", "", "instructions", "allocations");
    let mut figures = Vec::new();
    for case in CASES.iter().filter(|case| case.name != "base") {
        let (net, allocations) = (instructions(case.name)? - base, allocations(case.name)?);
        println!("{:34} {net:>12.0} {allocations:>12.1}", case.name);
        figures.push((case.name, net, allocations));
    }
    report(&figures)
}

/// What callgrind looks at.
#[inline(never)]
fn measured(run: fn(u64, &String), n: u64, user: &String) {
    run(n, user);
}

fn valgrind(options: &[&str], name: &str, n: u64) -> Result<String, Box<dyn std::error::Error>> {
    let this = env::current_exe()?;
    let output = Command::new("valgrind").args(options).arg(this).args([name, &n.to_string()]).output();
    let output = output.map_err(|error| format!("valgrind is needed: {error}"))?;
    Ok(String::from_utf8(output.stderr)?)
}

fn instructions(name: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let options =
        ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*context*measured*"];
    per_one(name, &options, |said| said.split_once("Collected :").map(|(_, rest)| rest))
}

fn allocations(name: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let options = ["--tool=memcheck", "--leak-check=no", "--undef-value-errors=no"];
    per_one(name, &options, |said| said.split_once("total heap usage:").map(|(_, rest)| rest))
}

fn per_one(
    name: &str,
    options: &[&str],
    find: impl Fn(&str) -> Option<&str>,
) -> Result<f64, Box<dyn std::error::Error>> {
    let count = |n| -> Result<f64, Box<dyn std::error::Error>> {
        let said = valgrind(options, name, n)?;
        let number = find(&said).and_then(|rest| rest.split_whitespace().next()).ok_or(said.clone())?;
        Ok(number.replace(',', "").parse()?)
    };
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let times = (LONG - SHORT) as f64;
    Ok((count(LONG)? - count(SHORT)?) / times)
}

fn report(figures: &[(&str, f64, f64)]) -> Result<(), Box<dyn std::error::Error>> {
    let of = |name: &str| figures.iter().find(|it| it.0 == name).ok_or(format!("no case {name}"));
    let (enter, literals, kept) =
        (of("enter/payi")?, of("enter/payi, literals")?, of("enter/tracing, values kept")?);
    println!(
        "evidence bench-context: target 1 enter+exit {:.0} instructions, {:.1} allocations (≤ 300, 2; tracing \
         with values kept {:.0}, {:.1} ×; tokio task_local {:.0}; fastrace with properties {:.0}; \
         OTel baggage {:.0}; sentry {:.0}); 36-byte id {:.0}, {:.1}",
        enter.1,
        enter.2,
        kept.1,
        kept.1 / enter.1,
        of("enter/tokio task_local")?.1,
        of("enter/fastrace, properties")?.1,
        of("enter/opentelemetry baggage")?.1,
        of("enter/sentry scope")?.1,
        of("enter/payi, 36 bytes")?.1,
        of("enter/payi, 36 bytes")?.2,
    );
    println!(
        "evidence bench-context: target 1b literals only {:.0} instructions, {:.1} allocations (≤ 200, 1)",
        literals.1, literals.2
    );
    let above = |name| of(name).map(|it| it.1 - of("poll/bare").map_or(0.0, |bare| bare.1));
    let at_await = of("poll/payi await point")?.1 - of("poll/bare, in an async block")?.1;
    println!(
        "evidence bench-context: target 2 poll in a scope {:.0}, at an await point {at_await:.0} above the bare poll \
         (≤ 20; tokio {:.0}; sentry {:.0}; OTel {:.0}; tracing with a layer {:.0}; fastrace {:.0})",
        above("poll/payi scope")?,
        above("poll/tokio task_local")?,
        above("poll/sentry bind_hub")?,
        above("poll/opentelemetry with_context")?,
        above("poll/tracing, no-op layer")?,
        above("poll/fastrace in_span")?,
    );
    println!(
        "evidence bench-context: target 3 snapshot {:.0} at depth 1, {:.0} at depth 16 (≤ 40); resolving all keys \
         at depth 4 {:.0} (≤ 900), with a copy of each value {:.0}",
        of("snapshot/payi, depth 1")?.1,
        of("snapshot/payi, depth 16")?.1,
        of("resolve/payi, depth 4")?.1,
        of("resolve/payi, depth 4, owned")?.1,
    );
    Ok(())
}
