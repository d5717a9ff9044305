//! Targets 1 to 3 in time: entering a scope, polling in it, taking a snapshot; beside their anchors.
//!
//! `cargo bench -p payi-bench --bench context`. Instructions, which noise does not touch:
//! `cargo run --release -p payi-bench --bin context`.

use std::hint::black_box;

use divan::{AllocProfiler, Bencher};
use payi_bench::context::{CASES, Case};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

/// How often one sample does it: below, the clock is coarser than the work.
const BATCH: u64 = 1000;

fn main() {
    divan::main();
}

/// By name, so that divan shows it.
#[derive(Clone, Copy)]
struct Named(&'static Case);

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

/// Times are of a thousand.
#[divan::bench(args = CASES.iter().map(Named), sample_count = 200)]
fn thousand(bencher: Bencher<'_, '_>, case: Named) {
    let user = "user-12345".to_owned();
    let setup = (case.0.setup)();
    bencher.bench_local(|| (case.0.run)(BATCH, black_box(&user)));
    drop(setup);
}
