//! Shortens what errors quote, so that a report stays readable whatever was written.

/// Characters of one word, of which the first [`HEAD`] and the last [`TAIL`] are left when there are more.
const LONGEST_WORD: usize = 200;
/// Characters of a whole message.
const LONGEST_MESSAGE: usize = 600;
const HEAD: usize = 100;
const TAIL: usize = 50;

/// The message with `…` for the middle of words, and of itself, that are too long.
pub(super) fn abbreviated(message: String) -> String {
    // Bytes, so there are at most as many characters.
    if message.len() <= LONGEST_WORD {
        return message;
    }
    let words = message.split_inclusive(char::is_whitespace);
    let message: String =
        words.map(|word| shortened(word, LONGEST_WORD, HEAD, TAIL)).collect::<Vec<_>>().concat();
    shortened(&message, LONGEST_MESSAGE, LONGEST_MESSAGE - 2 * HEAD, HEAD).into_owned()
}

fn shortened(text: &str, longest: usize, head: usize, tail: usize) -> std::borrow::Cow<'_, str> {
    if text.chars().nth(longest).is_none() {
        return text.into();
    }
    let end = text.char_indices().nth(head).map_or(text.len(), |(at, _)| at);
    let start = text.char_indices().nth_back(tail - 1).map_or(0, |(at, _)| at);
    format!("{}…{}", &text[..end], &text[start..]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_stays_as_it_is() {
        for text in ["", "`dorp` is not a verb", &"word ".repeat(100), &"ü".repeat(200)] {
            assert_eq!(abbreviated(text.to_owned()), text);
        }
    }

    #[test]
    fn a_long_word_keeps_its_ends() {
        let word = format!("{}{}{}", "a".repeat(300), "ü".repeat(100_000), "z".repeat(300));
        let message = abbreviated(format!("`{word}` is not a verb"));
        let (a, z) = ("a".repeat(99), "z".repeat(48));
        assert_eq!(message, format!("`{a}…{z}` is not a verb"));
    }

    #[test]
    fn a_long_message_keeps_its_ends() {
        let message = abbreviated(format!("begin {} end", "word ".repeat(20_000)));
        assert_eq!(message.chars().count(), LONGEST_MESSAGE - HEAD + 1);
        assert!(message.starts_with("begin word") && message.ends_with("word  end"), "{message}");
    }
}
