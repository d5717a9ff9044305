//! What reads an answer: its usage, and what is kept of it; as it passes, or afterwards.

use crate::{
    clients::capture::{Capture, Keep},
    defect::{Defect, guarded},
    error::say,
    usage::{Api, Meter, Usage, buffer::Buffer},
};

/// The longest answer that is kept to be read afterwards, in bytes; a longer one is read as it passes.
const LATER_MAX: usize = 64 * 1024;

/// What an answer's head says about its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'h> {
    pub(crate) status: u16,
    pub(crate) content_type: &'h [u8],
    pub(crate) content_encoding: &'h str,
    /// How long the body will be, in bytes, where that is said.
    pub(crate) length: Option<u64>,
}

impl Head<'_> {
    /// One that says nothing.
    pub(crate) const EMPTY: Self =
        Self { status: 200, content_type: b"", content_encoding: "", length: None };
    const JSON: Self = Self { content_type: b"application/json", ..Self::EMPTY };

    pub(crate) fn is_sse(self) -> bool {
        self.content_type.starts_with(b"text/event-stream")
    }

    pub(crate) fn is_lines(self) -> bool {
        self.content_type.starts_with(b"application/x-ndjson")
            || self.content_type.starts_with(b"application/stream+json")
    }

    pub(crate) fn is_aws(self) -> bool {
        self.content_type.starts_with(b"application/vnd.amazon.eventstream")
    }

    pub(crate) fn is_stream(self) -> bool {
        self.is_sse() || self.is_lines() || self.is_aws()
    }

    /// It is one JSON document, or may be.
    fn is_json(self, api: Api) -> bool {
        // Most call it what it is, and to see that is less than to search.
        if self.content_type.starts_with(b"application/json") {
            return true;
        }
        // Some servers call their JSON plain text; sound and pictures are called what they are.
        let text = self.content_type.is_empty() || memchr::memmem::find(self.content_type, b"json").is_some();
        !self.is_stream() && (text || (api != Api::Unknown && self.content_type.starts_with(b"text/")))
    }

    pub(crate) fn is_encoded(self) -> bool {
        !matches!(self.content_encoding, "" | "identity")
    }

    /// What reads the body, and whether it can.
    fn meter(self, api: Api) -> (Meter, bool) {
        let plain = self.plain(api);
        if !self.is_encoded() {
            return (plain, true);
        }
        match Meter::packed(plain, self.content_encoding) {
            Some(meter) => (meter, true),
            None => (Meter::opaque(api), false),
        }
    }

    /// What reads the body where it is not compressed.
    fn plain(self, api: Api) -> Meter {
        match () {
            () if self.is_sse() => Meter::sse(api),
            () if self.is_lines() => Meter::lines(api),
            () if self.is_aws() => Meter::aws(api),
            () if self.is_json(api) => Meter::json(api),
            () => Meter::opaque(api),
        }
    }
}

/// Reads an answer as its bytes pass.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) meter: Meter,
    pub(crate) capture: Option<Capture>,
    pub(crate) api: Api,
    /// The bytes can be read.
    pub(crate) readable: bool,
    /// How long the head says it is, in bytes.
    pub(crate) length: Option<u64>,
    #[cfg(test)]
    has_defect: bool,
}

impl Reader {
    /// `said` is what was used, where the head says it.
    fn new(api: Api, head: Head<'_>, said: Option<&Usage>, keep: Keep) -> Self {
        let capture = Capture::new(head.is_sse(), keep).filter(|_| !head.is_encoded());
        let (mut meter, readable) = head.meter(api);
        if let Some(said) = said {
            meter.said(*said);
        }
        let length = head.length.filter(|_| !head.is_encoded());
        Self {
            meter,
            capture,
            api,
            readable,
            length,
            #[cfg(test)]
            has_defect: false,
        }
    }

    /// One that meets a defect of ours at the next piece.
    #[cfg(test)]
    pub(crate) fn with_defect(api: Api) -> Self {
        Self { has_defect: true, ..Self::new(api, Head::JSON, None, Keep::Nothing) }
    }

    /// A piece has arrived. Where a defect of ours keeps it from being read, so it does the rest.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if guarded(|| self.read_on(bytes)) == Err(Defect) {
            say!(error, target: "payi",
                        "an answer could not be read, and its call is recorded without what it used: a defect of payi's");
            (self.meter, self.capture, self.readable) = (Meter::opaque(self.api), None, false);
        }
    }

    fn read_on(&mut self, bytes: &[u8]) {
        #[cfg(test)]
        assert!(!std::mem::take(&mut self.has_defect), "a test of how defects end");
        self.meter.push(bytes);
        if let Some(capture) = &mut self.capture {
            capture.push(bytes);
        }
    }
}

/// A short JSON document, kept until somebody reads it.
#[derive(Debug)]
pub(crate) struct Kept {
    /// A copy: what the client has read into is its own to use again.
    bytes: Buffer,
    api: Api,
    keep: Keep,
    said: Option<Box<Usage>>,
    length: Option<u64>,
}

impl Kept {
    /// `None` if the answer under `head` is long, a stream, compressed, or nothing that is read.
    #[inline]
    fn new(api: Api, head: Head<'_>, keep: Keep) -> Option<Self> {
        let announced = usize::try_from(head.length.unwrap_or_default()).ok()?;
        let fits = announced <= LATER_MAX && !head.is_encoded() && head.is_json(api);
        fits.then(|| Self {
            bytes: Buffer::with_capacity(announced),
            api,
            keep,
            said: None,
            length: head.length,
        })
    }

    /// A piece has arrived; whether it could be kept.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let fits = self.bytes.len() + bytes.len() <= LATER_MAX;
        if fits {
            self.bytes.extend_from_slice(bytes);
        }
        fits
    }

    /// What it takes of memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.capacity()
    }

    /// What has read all that was kept.
    pub(crate) fn read(&self) -> Reader {
        let head = Head { length: self.length, ..Head::JSON };
        let mut reader = Reader::new(self.api, head, self.said.as_deref(), self.keep);
        reader.push(&self.bytes);
        reader
    }
}

/// When an answer is read.
#[derive(Debug)]
pub(crate) enum When {
    Now(Box<Reader>),
    Later(Kept),
}

impl When {
    /// As the answer passes; or, if there is time and it is short, `later`.
    pub(crate) fn new(later: bool, api: Api, head: Head<'_>, said: Option<Box<Usage>>, keep: Keep) -> Self {
        let kept = if later { Kept::new(api, head, keep) } else { None };
        match kept {
            Some(kept) => Self::Later(Kept { said, ..kept }),
            None => Self::Now(Box::new(Reader::new(api, head, said.as_deref(), keep))),
        }
    }

    /// A piece has arrived.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Now(reader) => reader.push(bytes),
            Self::Later(kept) => {
                if !kept.push(bytes) {
                    let mut reader = Box::new(kept.read());
                    reader.push(bytes);
                    *self = Self::Now(reader);
                }
            }
        }
    }

    /// Whether the answer is known to have said all it has to say, so that stopping here is not stopping early. Of one
    /// that is read later, that is known then.
    pub(crate) fn is_complete(&mut self) -> bool {
        match self {
            Self::Now(reader) => reader.meter.is_complete(),
            Self::Later(_) => false,
        }
    }
}
