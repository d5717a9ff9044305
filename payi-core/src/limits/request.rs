//! What a request's body says about the most that its answer can use.
//!
//! The body is walked once and nothing of it is kept but a few numbers. What is not understood makes the
//! request unbounded, never cheaper.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::limits::Unbounded;

/// What one image is at most, in tokens: the highest count that a provider documents.
const IMAGE: u64 = 50_000;
/// What providers put around the messages, and around tools, at most.
const FRAME: u64 = 64;
const TOOLS: u64 = 1_024;

/// What a request's body says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a finding of its own")]
pub(crate) struct Prompt {
    /// A token of a byte-level vocabulary is at least one byte, so this is no less than the tokens of the text.
    bytes: u64,
    images: u64,
    tools: bool,
    max_output: Option<u64>,
    copies: u64,
    pub(crate) unbounded: Option<Unbounded>,
    /// Parts are marked to be cached, which costs more than plain input.
    pub(crate) caches: bool,
    pub(crate) audio_input: bool,
    /// Anthropic's fast mode, which is billed at a rate of its own.
    fast: bool,
    service_tier: Option<Box<str>>,
    pub(crate) geo: Option<Box<str>>,
    /// Others that may answer in place of the model asked for.
    pub(crate) models: Vec<Box<str>>,
    /// How many characters the input has, where it is one text.
    characters: Option<u64>,
    /// The request names its own maximum, which could be lowered in place.
    pub(crate) names_maximum: bool,
    /// The body is JSON, and not a form with a file in it.
    pub(crate) readable: bool,
    /// The item at hand says what it is.
    typed: bool,
}

impl Prompt {
    /// Reads a JSON body; anything else is unbounded.
    pub(crate) fn read(body: Option<&[u8]>) -> Self {
        let unreadable = Self { unbounded: Some(Unbounded::Body), copies: 1, ..Self::default() };
        let Some(body) = body else { return unreadable };
        let mut prompt = Self { bytes: body.len() as u64, copies: 1, ..Self::default() };
        let mut json = serde_json::Deserializer::from_slice(body);
        let walk = Walk { prompt: &mut prompt, place: Place::Top };
        match walk.deserialize(&mut json).and_then(|()| json.end()) {
            Ok(()) => Self { readable: true, ..prompt },
            Err(_) => Self { bytes: body.len() as u64, ..unreadable },
        }
    }

    /// Of a session's next response, to which the provider reads the `kept` tokens of what was said before; whatever is
    /// said beside that may be sound.
    #[cfg(feature = "_http")]
    pub(crate) fn of_session(kept: u64, max_output: Option<u64>) -> Self {
        let unbounded = Some(Unbounded::Kept);
        Self { bytes: kept, copies: 1, max_output, unbounded, audio_input: true, ..Self::default() }
    }

    /// At least as many tokens as the input is.
    pub(crate) fn input(&self) -> u64 {
        let tools = if self.tools { TOOLS } else { 0 };
        self.bytes + FRAME + tools + self.images.saturating_mul(IMAGE)
    }

    /// The tier asked for.
    pub(crate) fn tier(&self) -> Option<&str> {
        if self.fast { Some("fast") } else { self.service_tier.as_deref() }
    }

    /// At least as many characters as the input has.
    pub(crate) fn characters(&self) -> u64 {
        self.characters.unwrap_or(self.bytes)
    }

    pub(crate) fn has_images(&self) -> bool {
        self.images > 0
    }

    /// At least as many tokens as the output can be, all copies together.
    pub(crate) fn output(&self) -> Option<u64> {
        Some(self.max_output?.saturating_mul(self.copies))
    }

    /// As if the request named a maximum.
    pub(crate) fn set_maximum(&mut self, tokens: u64) {
        self.max_output = Some(tokens);
    }

    /// How many answers are asked for.
    pub(crate) fn copies(&self) -> u64 {
        self.copies
    }

    fn unbounded(&mut self, by: Unbounded) {
        self.unbounded.get_or_insert(by);
    }

    /// A part of that type.
    fn holds(&mut self, kind: &str) {
        match kind {
            "image_url" | "input_image" | "image" => self.images += 1,
            "input_audio" | "audio_url" => self.audio_input = true,
            "file" | "input_file" | "document" | "video" | "video_url" | "container_upload" | "file_url" => {
                self.unbounded(Unbounded::File);
            }
            "item_reference" => self.unbounded(Unbounded::Kept),
            _ => {}
        }
    }
}

/// Where in the body the walk is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    /// An object of generation settings.
    Settings,
    /// The list of tools, and one of them.
    Tools,
    Tool,
    /// Something that has to be there, and not null, to count: a reference to what the provider keeps.
    Kept,
    Maximum,
    Copies,
    Tier,
    Speed,
    Geo,
    /// Those that may answer in place of the model asked for.
    Models,
    /// OpenAI's `prompt`: a text, or one that the provider keeps.
    Template,
    /// What is asked: a text, or a list of items.
    Input,
    Item,
    ItemType,
    Type,
    ToolType,
    /// What a tool looks like: only its length matters.
    Schema,
    Sound,
    Mime,
    Inline,
    Image,
    File,
    Other,
}

struct Walk<'p> {
    prompt: &'p mut Prompt,
    place: Place,
}

/// What a key says about the value behind it.
fn place_of(inside: Place, key: &str) -> Place {
    use Place as P;
    match (inside, key) {
        (
            P::Top | P::Settings,
            "max_tokens"
            | "max_completion_tokens"
            | "max_output_tokens"
            | "max_tokens_to_sample"
            | "maxTokens"
            | "maxOutputTokens"
            | "max_new_tokens"
            | "num_predict",
        ) => P::Maximum,
        (
            P::Top | P::Settings,
            "n" | "best_of" | "num_generations" | "candidateCount" | "candidate_count",
        ) => P::Copies,
        (P::Top, "generationConfig" | "generation_config" | "inferenceConfig" | "options" | "parameters") => {
            P::Settings
        }
        (
            P::Top,
            "previous_response_id"
            | "previous_interaction_id"
            | "conversation"
            | "cachedContent"
            | "cached_content"
            | "web_search_options"
            | "plugins"
            | "mcp_servers"
            | "container"
            | "assistant_id"
            | "thread_id",
        )
        // An earlier answer, spoken, comes back by its id.
        | (P::Sound, "id") => P::Kept,
        (P::Top, "tools") => P::Tools,
        (P::Top, "prompt") => P::Template,
        (P::Top, "input") => P::Input,
        (P::Top, "models" | "fallbacks") | (P::Models, "model") => P::Models,
        (P::Tools, _) => P::Tool,
        (
            P::Tool,
            "type"
            | "googleSearch"
            | "google_search"
            | "googleSearchRetrieval"
            | "google_search_retrieval"
            | "codeExecution"
            | "code_execution"
            | "urlContext"
            | "url_context"
            | "fileSearch"
            | "file_search"
            | "googleMaps",
        ) => P::ToolType,
        (P::Tool | P::Schema, _) => P::Schema,
        (P::Top, "service_tier" | "serviceTier") | (P::Tier, "type") => P::Tier,
        (P::Top, "speed") => P::Speed,
        (P::Top, "inference_geo") => P::Geo,
        (P::Item, "type") => P::ItemType,
        (_, "type") => P::Type,
        (_, "mimeType" | "mime_type") if inside == P::Inline => P::Mime,
        (_, "inlineData" | "inline_data") => P::Inline,
        (_, "fileData" | "file_data" | "file_id" | "document" | "video") => P::File,
        (P::Other, "image") => P::Image,
        (P::Other | P::Item, "audio") => P::Sound,
        _ => P::Other,
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match self.place {
            Place::Image => self.prompt.images += 1,
            Place::File => self.prompt.unbounded(Unbounded::File),
            Place::Kept | Place::Template => self.prompt.unbounded(Unbounded::Kept),
            Place::ToolType => self.prompt.unbounded(Unbounded::Tools),
            Place::Sound => self.prompt.audio_input = true,
            Place::Maximum | Place::Copies => self.prompt.unbounded(Unbounded::Body),
            _ => {}
        }
        let inside = match self.place {
            // Whatever is listed, its parts are parts of a tool.
            Place::Tools => Place::Tool,
            Place::Top
            | Place::Settings
            | Place::Tool
            | Place::Schema
            | Place::Inline
            | Place::Item
            | Place::Models
            | Place::Tier
            | Place::Sound => self.place,
            _ => Place::Other,
        };
        self.prompt.typed &= self.place != Place::Item;
        let (mut named, mut said) = (false, false);
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == "cache_control" || key == "cachePoint" {
                self.prompt.caches = true;
            }
            named |= key == "id";
            said |= key == "role";
            let place = place_of(inside, &key);
            map.next_value_seed(Walk { prompt: self.prompt, place })?;
        }
        // What has an id, and says nothing, is a reference to an earlier item.
        if self.place == Place::Item && named && !said && !self.prompt.typed {
            self.prompt.unbounded(Unbounded::Kept);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let place = match self.place {
            // Clips, files and references may come in lists.
            Place::Tools | Place::File | Place::Kept | Place::Models | Place::Schema => self.place,
            Place::Input => Place::Item,
            Place::Maximum | Place::Copies => {
                self.prompt.unbounded(Unbounded::Body);
                Place::Other
            }
            _ => Place::Other,
        };
        if self.place == Place::Tools {
            self.prompt.tools = true;
        }
        while seq.next_element_seed(Walk { prompt: self.prompt, place })?.is_some() {}
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let prompt = self.prompt;
        match self.place {
            Place::Kept => prompt.unbounded(Unbounded::Kept),
            Place::Tier => prompt.service_tier = Some(text.into()),
            Place::Geo => prompt.geo = Some(text.into()),
            Place::Speed => prompt.fast = text == "fast",
            Place::Models => prompt.models.push(text.into()),
            Place::Input => prompt.characters = Some(text.chars().count() as u64),
            Place::ToolType if !runs_here(text) => prompt.unbounded(Unbounded::Tools),
            Place::Mime if text.starts_with("image/") => prompt.images += 1,
            Place::Mime | Place::File => prompt.unbounded(Unbounded::File),
            Place::ItemType => {
                prompt.typed = true;
                prompt.holds(text);
            }
            Place::Type => prompt.holds(text),
            Place::Maximum | Place::Copies => prompt.unbounded(Unbounded::Body),
            _ => {}
        }
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        match self.place {
            // Where two names are given, the larger one bounds both.
            Place::Maximum => {
                self.prompt.names_maximum = true;
                self.prompt.max_output = Some(self.prompt.max_output.unwrap_or(0).max(number));
            }
            Place::Copies => self.prompt.copies = self.prompt.copies.max(number),
            _ => {}
        }
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        // Ollama: -1 is endless.
        if self.place == Place::Maximum {
            self.prompt.unbounded(Unbounded::NoMaximum);
        }
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        if matches!(self.place, Place::Maximum | Place::Copies) {
            self.prompt.unbounded(Unbounded::Body);
        }
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(IgnoredAny).map(drop)
    }
}

/// Tools that the caller runs, whose results come back as input he sends himself.
fn runs_here(tool: &str) -> bool {
    matches!(tool, "function" | "custom" | "object" | "apply_patch" | "local_shell")
        || ["bash_", "text_editor_", "computer_", "memory_"].iter().any(|name| tool.starts_with(name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn read(body: &str) -> Prompt {
        Prompt::read(Some(body.as_bytes()))
    }

    #[test]
    fn maxima_by_every_name() {
        for (body, output) in [
            (r#"{"model":"m","messages":[],"max_tokens":5}"#, Some(5)),
            (r#"{"max_completion_tokens":7,"max_tokens":3}"#, Some(7)),
            (r#"{"max_output_tokens":9,"input":"x"}"#, Some(9)),
            (r#"{"generationConfig":{"maxOutputTokens":4,"candidateCount":3}}"#, Some(12)),
            (r#"{"inferenceConfig":{"maxTokens":6}}"#, Some(6)),
            (r#"{"n":3,"max_tokens":10}"#, Some(30)),
            (r#"{"messages":[{"role":"user","content":"max_tokens: 5"}]}"#, None),
            (r#"{"messages":[{"max_tokens":5}]}"#, None),
            (r#"{"max_tokens":null}"#, None),
        ] {
            let prompt = read(body);
            assert_eq!(prompt.output(), output, "{body}");
            assert_eq!(prompt.unbounded, None, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_bounded_says_so() {
        for (body, why) in [
            ("not json", Unbounded::Body),
            (r#"{"max_tokens":5"#, Unbounded::Body),
            (r#"{"max_tokens":"5"}"#, Unbounded::Body),
            (r#"{"max_tokens":1.5}"#, Unbounded::Body),
            (r#"{"previous_response_id":"resp_1"}"#, Unbounded::Kept),
            (r#"{"conversation":{"id":"c"}}"#, Unbounded::Kept),
            (r#"{"prompt":{"id":"pmpt_1"},"max_output_tokens":10}"#, Unbounded::Kept),
            (r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#, Unbounded::Kept),
            (r#"{"input":[{"type":null,"id":"msg_1"}]}"#, Unbounded::Kept),
            (r#"{"previous_interaction_id":"i"}"#, Unbounded::Kept),
            (r#"{"messages":[{"role":"assistant","audio":{"id":"audio_1"}}]}"#, Unbounded::Kept),
            (r#"{"tools":[{"type":"web_search"}]}"#, Unbounded::Tools),
            (r#"{"tools":[{"type":"web_search_20250305","name":"w"}]}"#, Unbounded::Tools),
            (r#"{"tools":[{"googleSearch":{}}]}"#, Unbounded::Tools),
            (r#"{"input":[{"content":[{"type":"input_file","file_id":"f"}]}]}"#, Unbounded::File),
            (r#"{"contents":[{"parts":[{"fileData":{"fileUri":"gs://x"}}]}]}"#, Unbounded::File),
            (
                r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"video/mp4","data":""}}]}]}"#,
                Unbounded::File,
            ),
        ] {
            assert_eq!(read(body).unbounded, Some(why), "{body}");
        }
        assert_eq!(Prompt::read(None).unbounded, Some(Unbounded::Body));
        for body in [
            r#"{"previous_response_id":null,"tools":[{"type":"function","function":{"parameters":{"type":"object"}}}]}"#,
            r#"{"tools":[{"name":"f","input_schema":{"type":"object","properties":{"document":{"type":"string"}}}}]}"#,
            r#"{"prompt":"Once upon a time"}"#,
            r#"{"prompt":["Once","upon"]}"#,
            r#"{"input":[{"id":"msg_1","role":"user","content":[{"type":"input_text","text":"x"}]}]}"#,
            r#"{"input":[{"type":"reasoning","id":"rs_1","summary":[{"text":"x"}]}]}"#,
            r#"{"audio":{"voice":"ash","format":"wav"}}"#,
        ] {
            assert_eq!(read(body).unbounded, None, "{body}");
        }
    }

    #[test]
    fn input_is_never_less_than_the_text_and_its_images() {
        let plain = read(r#"{"messages":[{"role":"user","content":"hello"}]}"#);
        assert!(plain.input() >= 49, "{}", plain.input());
        for body in [
            r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://x"}}]}]}"#,
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":""}}]}]}"#,
            r#"{"messages":[{"content":[{"image":{"format":"png","source":{"bytes":""}}}]}]}"#,
        ] {
            let prompt = read(body);
            assert!((50_000..51_000).contains(&prompt.input()), "{body}: {}", prompt.input());
        }
    }
}
