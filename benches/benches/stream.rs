//! Target 5: what metering costs for each chunk of a stream that says nothing of usage, beside a
//! search of every chunk, which a simpler meter would do.

use std::{hint::black_box, time::Instant};

use payi::usage::{Api, Meter};
use payi_bench::median;

/// Chunks of one stream.
const CHUNKS: u32 = 5_000;
const ROUNDS: usize = 201;
/// Nanoseconds per chunk that may be spent.
const TARGET: f64 = 15.0;
/// Those that the search took on the machine for which that was said: on one where it takes longer, metering may, in
/// proportion.
const ANCHOR: f64 = 13.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let chunk = chunk();
    let finder = memchr::memmem::Finder::new(b"\"usage\":{");
    let (mut metered, mut searched, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS + 20 {
        let searching = per_chunk(|| {
            for _ in 0..CHUNKS {
                black_box(finder.find(black_box(&chunk)));
            }
        });
        let metering = per_chunk(|| {
            let mut meter = Meter::sse(Api::Chat);
            for _ in 0..CHUNKS {
                meter.push(black_box(&chunk));
            }
            black_box(meter.finish());
        });
        if round >= 20 {
            metered.push(metering);
            searched.push(searching);
            ratios.push(metering / searching);
        }
    }
    let (metered, searched) = (median(&mut metered), median(&mut searched));
    // Of the same rounds: a machine that changes its speed halfway has medians of both that are not of one time.
    let ratio = median(&mut ratios);
    let allowed = TARGET * (searched / ANCHOR).max(1.0);
    println!(
        "evidence bench-stream: {metered:.1} ns for a chunk of {} bytes without usage ({allowed:.1} are allowed where \
         searching it takes {searched:.1}; {ratio:.2} of that in the same round)",
        chunk.len()
    );
    if metered <= TARGET || ratio <= TARGET / ANCHOR { Ok(()) } else { Err("target 5 is missed".into()) }
}

/// Nanoseconds per chunk.
fn per_chunk(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(CHUNKS)
}

/// One event of a chat completion's stream, of 200 bytes.
fn chunk() -> Vec<u8> {
    let frame = |text: &str| {
        format!(
            r#"data: {{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}"#
        ) + "\n\n"
    };
    let empty = frame("").len();
    let chunk = frame(&"w".repeat(200 - empty));
    assert_eq!(chunk.len(), 200, "the frame alone is longer than the chunk is meant to be");
    chunk.into_bytes()
}
