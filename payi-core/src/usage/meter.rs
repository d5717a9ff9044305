//! Reads one answer as its bytes pass by.

#[cfg(feature = "compression")]
use crate::usage::unpack::Unpack;
use crate::usage::{
    Api, Reading, Usage,
    answer::Answer,
    frames::{Frames, Lines},
    keys::{Key, RULES},
    pick::Picker,
    sample::Sample,
    sse::Sse,
};

/// Reads one answer as its bytes pass by, in pieces of any size, keeping some thirty kilobytes at most
/// (and no event of a stream beyond 256 KiB), however long the answer is.
///
/// It never fails: what cannot be read is marked in the [`Reading`].
///
/// ```
/// use payi_core::usage::{Api, Bucket, Meter};
///
/// let mut meter = Meter::json(Api::Chat);
/// meter.push(br#"{"id":"chatcmpl-1","model":"gpt-4o-mini","choices":[],"usage":{"prompt_to"#);
/// meter.push(br#"kens":9,"completion_tokens":3,"total_tokens":12}}"#);
/// let reading = meter.finish();
/// assert_eq!(reading.model.as_deref(), Some("gpt-4o-mini"));
/// assert_eq!(reading.usage.map(|u| u.get(Bucket::Input)), Some(9));
/// ```
#[derive(Debug)]
pub struct Meter {
    api: Api,
    kind: Kind,
    /// Anything has come; server-sent events say that themselves.
    any: bool,
    /// What the head of the answer said.
    said: Option<Usage>,
}

#[derive(Debug)]
enum Kind {
    Json(Box<Picker<Key>>, Sample),
    Sse(Box<Sse>),
    Lines(Box<Lines>),
    Frames(Box<Frames>),
    #[cfg(feature = "compression")]
    Packed(Box<Unpack>),
    Opaque,
}

impl Meter {
    /// For an answer that is one JSON document.
    pub fn json(api: Api) -> Self {
        Self { api, kind: Kind::Json(Box::new(Picker::new(RULES)), Sample::one()), any: false, said: None }
    }

    /// For an answer that is a stream of server-sent events.
    pub fn sse(api: Api) -> Self {
        Self { api, kind: Kind::Sse(Box::new(Sse::new(api))), any: false, said: None }
    }

    /// For an answer that is a JSON document on each line.
    pub fn lines(api: Api) -> Self {
        Self { api, kind: Kind::Lines(Box::new(Lines::new(api))), any: false, said: None }
    }

    /// For an answer that is an AWS event stream.
    pub fn aws(api: Api) -> Self {
        Self { api, kind: Kind::Frames(Box::new(Frames::new(api))), any: false, said: None }
    }

    /// For an answer that says nothing about itself: sound, pictures, or compressed bytes.
    pub fn opaque(api: Api) -> Self {
        Self { api, kind: Kind::Opaque, any: false, said: None }
    }

    /// For a compressed answer, whose meter would be `plain` if it were not. `None` where the encoding
    /// (`Content-Encoding`) cannot be unpacked: gzip, deflate, br and zstd can, with the feature `compression`.
    pub(crate) fn packed(plain: Self, encoding: &str) -> Option<Self> {
        #[cfg(feature = "compression")]
        {
            let (api, said) = (plain.api, plain.said);
            let kind = Kind::Packed(Box::new(Unpack::new(plain, encoding)?));
            Some(Self { api, kind, any: false, said })
        }
        #[cfg(not(feature = "compression"))]
        {
            let _ = (plain, encoding);
            None
        }
    }

    /// Takes over counts from the head of the answer; the body's own are better, where it has any.
    pub fn said(&mut self, usage: Usage) {
        self.said = Some(usage);
    }

    /// Reads on.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        // First, because nothing else comes in so many pieces.
        let Kind::Sse(sse) = &mut self.kind else { return self.push_other(bytes) };
        sse.push(bytes);
    }

    fn push_other(&mut self, bytes: &[u8]) {
        self.any |= !bytes.is_empty();
        match &mut self.kind {
            Kind::Json(picker, sample) => {
                picker.push(bytes);
                // Only a document without its end is estimated.
                if !picker.is_done() {
                    sample.push(bytes);
                }
            }
            Kind::Lines(lines) => lines.push(bytes),
            Kind::Frames(frames) => frames.push(bytes),
            #[cfg(feature = "compression")]
            Kind::Packed(unpack) => unpack.push(bytes),
            Kind::Sse(_) | Kind::Opaque => {}
        }
    }

    /// Whether the answer has said all it has to say, so that stopping here is not stopping early.
    pub fn is_complete(&mut self) -> bool {
        match &mut self.kind {
            Kind::Sse(sse) => sse.is_complete(),
            Kind::Json(picker, _) => picker.is_done(),
            Kind::Lines(lines) => lines.is_complete(),
            Kind::Frames(frames) => frames.is_complete(),
            #[cfg(feature = "compression")]
            Kind::Packed(unpack) => {
                let (meter, whole) = unpack.meter();
                whole && meter.is_complete()
            }
            Kind::Opaque => false,
        }
    }

    /// Whether anything has come.
    fn any(&self) -> bool {
        match &self.kind {
            Kind::Sse(sse) => sse.has_begun(),
            _ => self.any,
        }
    }

    /// Whether a JSON document has begun, or was to come, and its end is missing; `ended` says that nothing failed.
    pub(crate) fn is_cut(&mut self, ended: bool) -> bool {
        let any = self.any();
        match &mut self.kind {
            Kind::Json(picker, _) => !picker.is_done() && !picker.is_broken() && (any || !ended),
            #[cfg(feature = "compression")]
            Kind::Packed(unpack) => unpack.meter().0.is_cut(ended),
            _ => false,
        }
    }

    /// A sample of what passed, for answers that do not say how much it was.
    pub(crate) fn sample(&mut self) -> Sample {
        match &mut self.kind {
            Kind::Sse(sse) => sse.sample(),
            Kind::Lines(lines) => lines.sample(),
            Kind::Frames(frames) => frames.sample(),
            #[cfg(feature = "compression")]
            Kind::Packed(unpack) => unpack.meter().0.sample(),
            Kind::Json(_, sample) => std::mem::take(sample),
            Kind::Opaque => Sample::default(),
        }
    }

    /// What the answer said of itself, as far as it was read.
    pub fn finish(self) -> Reading {
        let any = self.any();
        let (answer, ended) = match self.kind {
            Kind::Opaque => return Reading { usage: self.said, ..Reading::default() },
            Kind::Lines(lines) => lines.finish(),
            Kind::Frames(frames) => frames.finish(),
            #[cfg(feature = "compression")]
            Kind::Packed(unpack) => {
                let (mut meter, whole) = unpack.finish();
                meter.said = self.said;
                // Something came, and nothing could be made of it.
                let whole = whole && (meter.any() || !any);
                let mut reading = meter.finish();
                reading.malformed |= !whole;
                return reading;
            }
            Kind::Sse(sse) => {
                let answer = sse.finish();
                let seen = answer.seen;
                (answer, seen)
            }
            Kind::Json(picker, _) => {
                let mut answer = Answer::default();
                answer.absorb(self.api, &picker);
                (answer, picker.is_done() && !picker.is_broken())
            }
        };
        let mut reading = answer.into_reading(self.api);
        reading.malformed |= any && !ended;
        if reading.usage.is_none_or(|usage| usage.output_tokens() == 0)
            && let Some(said) = self.said
        {
            reading.usage = Some(said);
        }
        reading
    }
}

#[cfg(test)]
#[path = "meter_tests.rs"]
mod tests;
