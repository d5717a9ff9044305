//! Compressed answers, metered on a copy: what the caller gets is not touched.
//!
//! A few kilobytes can be packed so that they unpack to gigabytes. So no more is unpacked than an honest answer
//! comes to, however it is packed, and what goes beyond is marked as unread.

use std::{
    fmt,
    io::{self, Read as _, Write},
};

use brotli_decompressor::DecompressorWriter as Brotli;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;

use crate::usage::{Api, Meter};

/// How many times larger than its packed form an answer may be; text packs to a tenth, a stream of small events to
/// a fiftieth.
const RATIO_MAX: u64 = 200;
/// What may always be unpacked.
const FREE: u64 = 256 * 1024;
/// The most that is unpacked of one answer.
const UNPACKED_MAX: u64 = 64 * 1024 * 1024;
/// The most that is kept of an answer that can only be unpacked in one go.
const PACKED_MAX: usize = 4 * 1024 * 1024;
/// The largest window of earlier text that an answer may refer back to.
const WINDOW_MAX: u64 = 8 * 1024 * 1024;

/// Unpacks what passes into the meter of the unpacked answer.
pub(crate) struct Unpack {
    decoder: Decoder,
    failed: bool,
}

enum Decoder {
    Gzip(MultiGzDecoder<Room>),
    /// What HTTP calls deflate, with the frame that it should have, or without.
    Zlib(ZlibDecoder<Room>),
    Deflate(DeflateDecoder<Room>),
    /// Not yet known which of the two.
    Either(Room),
    Brotli(Box<Brotli<Room>>),
    Zstd(Vec<u8>, Room),
}

/// A meter that takes in so much and no more.
struct Room {
    meter: Box<Meter>,
    left: u64,
    packed: u64,
    unpacked: u64,
}

impl Room {
    /// For an answer that says nothing, and in place of one that is taken out.
    fn none() -> Self {
        Self { meter: Box::new(Meter::opaque(Api::Unknown)), left: 0, packed: 0, unpacked: 0 }
    }

    /// So much has arrived, which may become so much more.
    fn grow(&mut self, packed: usize) {
        self.packed = self.packed.saturating_add(packed as u64);
        let most = self.packed.saturating_mul(RATIO_MAX).saturating_add(FREE).min(UNPACKED_MAX);
        self.left = most.saturating_sub(self.unpacked);
    }
}

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len() as u64;
        if length > self.left {
            return Err(io::Error::other("more than an honest answer unpacks to"));
        }
        self.left -= length;
        self.unpacked += length;
        self.meter.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Unpack {
    /// For an answer in that encoding; `None` if it is none that can be unpacked.
    pub(crate) fn new(meter: Meter, encoding: &str) -> Option<Self> {
        let room = |meter| Room { meter: Box::new(meter), ..Room::none() };
        let decoder = match encoding.trim() {
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => {
                Decoder::Gzip(MultiGzDecoder::new(room(meter)))
            }
            name if name.eq_ignore_ascii_case("deflate") => Decoder::Either(room(meter)),
            name if name.eq_ignore_ascii_case("br") => {
                Decoder::Brotli(Box::new(Brotli::new(room(meter), 4096)))
            }
            name if name.eq_ignore_ascii_case("zstd") => Decoder::Zstd(Vec::new(), room(meter)),
            _ => return None,
        };
        Some(Self { decoder, failed: false })
    }

    /// Takes in the next packed bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let Some(first) = bytes.first().filter(|_| !self.failed) else { return };
        if let Decoder::Either(room) = &mut self.decoder {
            let room = std::mem::replace(room, Room::none());
            let framed = first & 0x0f == 8 && first >> 4 <= 7;
            self.decoder = if framed {
                Decoder::Zlib(ZlibDecoder::new(room))
            } else {
                Decoder::Deflate(DeflateDecoder::new(room))
            };
        }
        self.room().grow(bytes.len());
        let taken = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.write_all(bytes),
            Decoder::Zlib(decoder) => decoder.write_all(bytes),
            Decoder::Deflate(decoder) => decoder.write_all(bytes),
            Decoder::Brotli(decoder) => decoder.write_all(bytes),
            Decoder::Zstd(packed, _) if packed.len() + bytes.len() > PACKED_MAX => {
                Err(io::ErrorKind::FileTooLarge.into())
            }
            Decoder::Zstd(packed, _) => {
                packed.extend_from_slice(bytes);
                Ok(())
            }
            Decoder::Either(_) => Ok(()),
        };
        self.failed = taken.is_err();
    }

    fn room(&mut self) -> &mut Room {
        match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Zlib(decoder) => decoder.get_mut(),
            Decoder::Deflate(decoder) => decoder.get_mut(),
            Decoder::Brotli(decoder) => decoder.get_mut(),
            Decoder::Either(room) | Decoder::Zstd(_, room) => room,
        }
    }

    /// The meter of the unpacked answer, with all that has been unpacked, and whether all could be.
    pub(crate) fn meter(&mut self) -> (&mut Meter, bool) {
        // What a decoder still holds. Of an answer that ends early it is not all there.
        let flushed = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.flush(),
            Decoder::Zlib(decoder) => decoder.flush(),
            Decoder::Deflate(decoder) => decoder.flush(),
            Decoder::Brotli(decoder) => decoder.flush(),
            Decoder::Zstd(packed, room) => {
                let packed = std::mem::take(packed);
                if packed.is_empty() { Ok(()) } else { zstd(&packed, room) }
            }
            Decoder::Either(_) => Ok(()),
        };
        self.failed |= flushed.is_err();
        let failed = self.failed;
        (&mut self.room().meter, !failed)
    }

    /// What was unpacked, read to its end, and whether all could be.
    pub(crate) fn finish(mut self) -> (Meter, bool) {
        let whole = self.meter().1;
        let room = match self.decoder {
            Decoder::Gzip(mut decoder) => std::mem::replace(decoder.get_mut(), Room::none()),
            Decoder::Zlib(mut decoder) => std::mem::replace(decoder.get_mut(), Room::none()),
            Decoder::Deflate(mut decoder) => std::mem::replace(decoder.get_mut(), Room::none()),
            Decoder::Brotli(mut decoder) => std::mem::replace(decoder.get_mut(), Room::none()),
            Decoder::Either(room) | Decoder::Zstd(_, room) => room,
        };
        (*room.meter, whole)
    }
}

fn zstd(packed: &[u8], room: &mut Room) -> io::Result<()> {
    let mut decoder =
        StreamingDecoder::new_with_max_window_size(packed, WINDOW_MAX).map_err(io::Error::other)?;
    let mut piece = vec![0; 32 * 1024];
    loop {
        let length = decoder.read(&mut piece)?;
        let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else { return Ok(()) };
        room.write_all(read)?;
    }
}

impl fmt::Debug for Unpack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpack").field("failed", &self.failed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::io::Write as _;

    use flate2::{Compression, write as pack};

    use crate::usage::{Api, Bucket, Meter, Reading};

    const STREAM: &str = "data: {\"id\":\"c\",\"model\":\"gpt-4o\",\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\ndata: {\"id\":\"c\",\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12}}\n\ndata: [DONE]\n\n";

    /// Brotli's form for what is not packed at all.
    fn brotli(text: &[u8]) -> Vec<u8> {
        let head = (u32::try_from(text.len()).unwrap() - 1) << 4 | 1 << 20;
        [&head.to_le_bytes()[..3], text, &[3]].concat()
    }

    fn packed(encoding: &str, text: &[u8]) -> Vec<u8> {
        match encoding {
            "gzip" => {
                let mut gzip = pack::GzEncoder::new(Vec::new(), Compression::default());
                gzip.write_all(text).unwrap();
                gzip.finish().unwrap()
            }
            "deflate" => {
                let mut zlib = pack::ZlibEncoder::new(Vec::new(), Compression::default());
                zlib.write_all(text).unwrap();
                zlib.finish().unwrap()
            }
            "raw" => {
                let mut deflate = pack::DeflateEncoder::new(Vec::new(), Compression::default());
                deflate.write_all(text).unwrap();
                deflate.finish().unwrap()
            }
            "br" => brotli(text),
            _ => ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest),
        }
    }

    fn read(encoding: &str, bytes: &[u8], size: usize) -> (Reading, bool) {
        let name = if encoding == "raw" { "deflate" } else { encoding };
        let mut meter = Meter::packed(Meter::sse(Api::Chat), name).unwrap();
        bytes.chunks(size).for_each(|piece| meter.push(piece));
        let complete = meter.is_complete();
        (meter.finish(), complete)
    }

    #[test]
    fn every_encoding_is_read_in_pieces_of_any_size_and_as_far_as_it_goes() {
        for encoding in ["gzip", "deflate", "raw", "br", "zstd"] {
            let bytes = packed(encoding, STREAM.as_bytes());
            for size in [1, 7, bytes.len()] {
                let (reading, complete) = read(encoding, &bytes, size);
                let usage = reading.usage.unwrap();
                assert!(complete && !reading.malformed, "{encoding} in pieces of {size}");
                assert_eq!((usage.get(Bucket::Input), usage.get(Bucket::Output)), (9, 3), "{encoding}");
            }
            // Cut anywhere: as far as it can be read, and never as if it were whole.
            for cut in 0..bytes.len() / 2 {
                let (reading, complete) = read(encoding, &bytes[..cut], 100);
                assert!(reading.usage.is_none() && !complete, "{encoding} cut at {cut}");
            }
            let mut wrong = bytes.clone();
            wrong[0] ^= 0xff;
            assert!(read(encoding, &wrong, 50).0.usage.is_none(), "{encoding}");
        }
        for other in ["", "identity", "gzip, br", "compress", "x"] {
            assert!(Meter::packed(Meter::sse(Api::Chat), other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_bomb_is_given_up_and_marked() {
        let long = vec![b' '; 40 << 20];
        for encoding in ["gzip", "deflate", "zstd"] {
            let bytes = packed(encoding, &long);
            assert!(bytes.len() < long.len() / 200, "{encoding}");
            let (reading, complete) = read(encoding, &bytes, 16 * 1024);
            assert!(reading.malformed && !complete && reading.usage.is_none(), "{encoding}");
        }
    }
}
