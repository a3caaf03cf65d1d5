//! Takes out of strings what a terminal would obey. Whoever may write an annotation, a name or a message in a cluster
//! chooses these strings, and they are shown on the terminals of others.

use std::ops::Deref;

use chaos_controller::is_obeyed;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// What stands in place of a character that was taken out.
const REPLACEMENT: char = '\u{fffd}';

/// An object whose strings can be shown: what is rendered takes this type, so that nothing else can be.
#[derive(Debug, Clone, PartialEq)]
pub struct Printable<T>(T);

impl<T: Serialize + DeserializeOwned> Printable<T> {
    /// The same object with strings that can be shown.
    pub fn of(object: &T) -> Result<Self, Failure> {
        let value = serde_json::to_value(object).map(value);
        let object = value.and_then(serde_json::from_value);
        object.map(Self).map_err(|error| Failure::Output(error.into()))
    }
}

impl<T> Deref for Printable<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A text in which a terminal obeys nothing but line breaks.
pub fn printable(text: &str) -> String {
    let shown = |character| match character {
        '\n' => '\n',
        '\t' => ' ',
        obeyed if is_obeyed(obeyed) => REPLACEMENT,
        other => other,
    };
    text.replace("\r\n", "\n").chars().map(shown).collect()
}

/// The same in one line.
pub fn in_one_line(text: &str) -> String {
    printable(text)
        .split('\n')
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// JSON that says the same with escapes: such characters stand only within its strings.
pub fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\n' => text.push('\n'),
            obeyed if is_obeyed(obeyed) => text.push_str(&format!("\\u{:04x}", u32::from(obeyed))),
            other => text.push(other),
        }
    }
    text
}

/// A JSON value whose strings and keys can be shown.
pub fn value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(printable(&text)),
        Value::Array(items) => items.into_iter().map(self::value).collect(),
        Value::Object(fields) => {
            let fields =
                fields.into_iter().map(|(key, field)| (printable(&key), self::value(field)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const HOSTILE: &str = "a\u{1b}[2Jb\u{9b}31mc\u{7f}d\u{202e}e\r\nf\tg\u{7}";

    #[test]
    fn terminals_obey_nothing_but_line_breaks() {
        assert_eq!(printable(HOSTILE), "a\u{fffd}[2Jb\u{fffd}31mc\u{fffd}d\u{fffd}e\nf g\u{fffd}");
        assert_eq!(in_one_line("one\n\n two\r\nthree"), "one two three");
        assert_eq!(printable("größer — 日本"), "größer — 日本");
    }

    #[test]
    fn objects_are_cleaned_as_a_whole() {
        let object = BTreeMap::from([(HOSTILE.to_owned(), vec![HOSTILE.to_owned()])]);
        let cleaned = Printable::of(&object).unwrap();
        let expected = printable(HOSTILE);
        assert_eq!(*cleaned, BTreeMap::from([(expected.clone(), vec![expected])]));
    }

    #[test]
    fn escaped_json_is_the_same_value() {
        let json = serde_json::to_string(HOSTILE).unwrap();
        let text = escaped(&json);
        assert!(!text.contains(is_obeyed), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), HOSTILE);
    }
}
