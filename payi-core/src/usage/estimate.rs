//! How many tokens a text is, about, where nobody says it.
//!
//! With the feature `tokenizer` by OpenAI's vocabulary `o200k_base`, which is part of the program; without it, and
//! until the vocabulary has been read, by the length of the text. Other makers' vocabularies are not published, or
//! not alike: what comes out is an estimate, and marked as one.

/// The longest text that is counted token by token; of a longer one the rest counts as its beginning does.
#[cfg(feature = "tokenizer")]
const COUNTED_MAX: usize = 4 * 1024;

/// How many tokens a text is, about. Bounded: it may run on a caller's task.
pub(crate) fn tokens(text: &str) -> u64 {
    #[cfg(feature = "tokenizer")]
    if let Some(vocabulary) = vocabulary::get() {
        let mut end = text.len().min(COUNTED_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let counted = vocabulary::count(vocabulary, &text[..end]);
        let all = u128::from(counted) * text.len() as u128;
        return u64::try_from(all.div_ceil(end.max(1) as u128)).unwrap_or(u64::MAX);
    }
    by_length(text)
}

/// Four bytes of plain text to a token, and two characters of any other script to three.
fn by_length(text: &str) -> u64 {
    let others = text.chars().filter(|c| !c.is_ascii()).count() as u64;
    let plain = text.bytes().filter(u8::is_ascii).count() as u64;
    plain.div_ceil(4) + (others * 2).div_ceil(3)
}

/// Reads the vocabulary by which tokens are estimated that no answer says: a third of a second and 50 MB, once.
///
/// `payi::instrument()` does it on a thread of its own. Until it is done, estimates go by the length of the text.
#[cfg(feature = "tokenizer")]
pub fn load_tokenizer() {
    vocabulary::load();
}

#[cfg(feature = "tokenizer")]
mod vocabulary {
    use std::sync::OnceLock;

    use tiktoken_rs::CoreBPE;

    static READ: OnceLock<Option<CoreBPE>> = OnceLock::new();
    /// The longest run without a space that is looked at as one: the search for its parts takes the square of it.
    const RUN_MAX: usize = 200;

    pub(super) fn load() {
        READ.get_or_init(|| tiktoken_rs::o200k_base().ok());
    }

    pub(super) fn get() -> Option<&'static CoreBPE> {
        READ.get()?.as_ref()
    }

    pub(super) fn count(vocabulary: &CoreBPE, text: &str) -> u64 {
        let mut sum = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let mut end = rest.len();
            let (mut run, mut at) = (0, 0);
            for (index, c) in rest.char_indices() {
                at = index;
                run = if c.is_whitespace() { 0 } else { run + 1 };
                if run > RUN_MAX {
                    break;
                }
            }
            if run > RUN_MAX {
                end = at;
            }
            sum += vocabulary.encode_ordinary(&rest[..end]).len() as u64;
            rest = &rest[end..];
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::by_length;

    #[test]
    fn a_token_is_four_letters_or_most_of_another_scripts_character() {
        assert_eq!(by_length(""), 0);
        assert_eq!(by_length("abcd efgh"), 3);
        assert_eq!(by_length("漢字"), 2);
    }

    #[cfg(feature = "tokenizer")]
    #[test]
    fn with_a_vocabulary_tokens_are_counted_and_nothing_takes_long() {
        super::load_tokenizer();
        assert_eq!(super::tokens("Hello there, how are you today?"), 8);
        assert_eq!(super::tokens(""), 0);
        let begun = std::time::Instant::now();
        for text in ["a".repeat(1 << 20), "é".repeat(1 << 19), " \n".repeat(1 << 19), "ab1 ".repeat(1 << 18)]
        {
            assert!(super::tokens(&text) > 1_000);
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
