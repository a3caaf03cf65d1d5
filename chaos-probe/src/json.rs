//! Reads JSON of strangers with a bound on how many values it has: each takes much more memory than its text.

use serde::de::DeserializeOwned;
use thiserror::Error;

/// Values in a text: an empty list is one, and so is a number.
const MOST: usize = 50_000;

/// Why a text is not read. It has nothing of the text, which whoever reads the error may not be allowed to read.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum JsonError {
    #[error("it has more than {MOST} values; ask for less")]
    TooMany,
    #[error("it breaks the rules of JSON, or nests too deep, in line {line} at {column}")]
    Syntax { line: usize, column: usize },
    #[error("it has other fields or types")]
    Data,
}

/// Reads a text.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    if most_values(text) > MOST {
        return Err(JsonError::TooMany);
    }
    serde_json::from_slice(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => JsonError::Data,
        serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof
        | serde_json::error::Category::Io => {
            JsonError::Syntax { line: error.line(), column: error.column() }
        }
    })
}

/// How many values a text has at most: one more than commas and brackets outside of strings.
fn most_values(text: &[u8]) -> usize {
    let (mut count, mut in_string, mut is_escaped) = (1, false, false);
    for byte in text {
        match (byte, in_string) {
            _ if is_escaped => is_escaped = false,
            (b'\\', true) => is_escaped = true,
            (b'"', _) => in_string = !in_string,
            (b',' | b'{' | b'[', false) => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn values_are_bounded_whatever_they_are() {
        for bomb in [
            format!("[{}0]", "0,".repeat(MOST)),
            format!("[{}0]", "[],".repeat(MOST)),
            format!("{{{}\"a\":0}}", "\"a\":0,".repeat(MOST)),
            "[".repeat(MOST + 1),
        ] {
            assert_eq!(read::<Value>(bomb.as_bytes()), Err(JsonError::TooMany));
        }
        let commas = json!({ "text": format!("\\\"{}", ",".repeat(2 * MOST)) });
        assert_eq!(read::<Value>(commas.to_string().as_bytes()), Ok(commas));
        let most = format!("[{}0]", "0,".repeat(MOST - 2));
        assert!(read::<Value>(most.as_bytes()).is_ok());
    }

    #[test]
    fn errors_tell_nothing_of_the_text() {
        for text in ["\"swordfish\"", "[swordfish]", "{\"swordfish\": 1}", "swordfish", ""] {
            let error = read::<Vec<u8>>(text.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains("swordfish"), "{error}");
        }
    }
}
