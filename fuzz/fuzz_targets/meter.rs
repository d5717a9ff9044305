//! Any bytes, in pieces of any size, as any kind of answer: nothing panics, and what is read does not depend on
//! where the pieces end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use payi_core::usage::{Api, Meter};

fuzz_target!(|input: (u8, u8, u16, &[u8])| {
    let (kind, api, size, bytes) = input;
    let api = [Api::Chat, Api::Responses, Api::Messages, Api::Gemini, Api::Images, Api::Audio, Api::Unknown]
        [usize::from(api) % 7];
    let kind = [Meter::json, Meter::sse, Meter::lines, Meter::aws][usize::from(kind) % 4];
    let mut pieces = kind(api);
    bytes.chunks(usize::from(size).max(1)).for_each(|piece| pieces.push(piece));
    pieces.is_complete();
    let mut whole = kind(api);
    whole.push(bytes);
    whole.is_complete();
    assert_eq!(pieces.finish(), whole.finish());
});
