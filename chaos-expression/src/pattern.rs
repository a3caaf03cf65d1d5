//! Translates regular expressions of Go (RE2) into those of the crate `regex`, which reads some of them otherwise, and bounds
//! what they cost.

use std::{iter::Peekable, str::Chars};

use regex::{Regex, RegexBuilder};

use crate::{ExpressionError, cost::Cost};

/// How often a part may be repeated, as in RE2.
const MOST_REPETITIONS: u32 = 1000;

/// How large a compiled pattern may be, in KiB.
const LARGEST: usize = 64;

/// A pattern that is compiled.
pub struct Pattern {
    regex: Regex,
    /// In KiB, at most twice what it is: by this a byte of text takes longer.
    size: usize,
}

impl Pattern {
    /// Compiles what [`translate`] gave.
    pub fn compile(translated: &str) -> Result<Self, regex::Error> {
        let mut size = 1;
        loop {
            let compiled = RegexBuilder::new(translated)
                .size_limit(size << 10)
                .dfa_size_limit(LARGEST << 12)
                .build();
            match compiled {
                Ok(regex) => return Ok(Self { regex, size }),
                Err(regex::Error::CompiledTooBig(_)) if size < LARGEST => size *= 2,
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether it is found in a text.
    pub fn matches(&self, text: &str, cost: &mut Cost) -> Result<bool, ExpressionError> {
        // Where a state machine of the pattern would be too large, each byte is looked at for each of its parts.
        cost.charge_bytes(text.len().saturating_mul(self.size).saturating_mul(4))?;
        Ok(self.regex.is_match(text))
    }
}

/// The pattern that matches here what `pattern` matches there: `\d`, `\w`, `\s` and `\b` mean ASCII.
///
/// # Errors
/// When it has what means something else in the two, or when it cannot be read.
pub fn translate(pattern: &str) -> Result<String, ExpressionError> {
    let refuse = |why: String| Err(ExpressionError::Pattern { pattern: pattern.to_owned(), why });
    let mut translated = String::with_capacity(pattern.len());
    let mut in_class = false;
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        let next = characters.peek().copied();
        match (character, in_class) {
            ('\\', _) => {
                let Some(escaped) = characters.next() else {
                    return refuse("it ends with `\\`".to_owned());
                };
                match escape(escaped, in_class) {
                    Some(written) => {
                        translated.push_str(&written);
                        // Braces after these name signs, and repeat nothing.
                        if "xpP".contains(escaped) && characters.peek() == Some(&'{') {
                            copy_until('}', &mut characters, &mut translated);
                        }
                    }
                    None => return refuse(format!("`\\{escaped}` is not supported; leave it out")),
                }
                continue;
            }
            ('[', true) if next != Some(':') => {
                return refuse("write `[` within `[…]` as `\\[`".to_owned());
            }
            ('&' | '-' | '~', true) if next == Some(character) => {
                return refuse(format!(
                    "write `{character}` within `[…]` once, as `\\{character}`"
                ));
            }
            ('[', true) => {
                // A name such as `[:alpha:]`, to its end.
                translated.push('[');
                copy_until(']', &mut characters, &mut translated);
                continue;
            }
            ('[', false) => {
                in_class = true;
                translated.push('[');
                if characters.peek() == Some(&'^') {
                    translated.extend(characters.next());
                }
                // A bracket in the first place is itself.
                if characters.peek() == Some(&']') {
                    characters.next();
                    translated.push_str("\\]");
                }
                continue;
            }
            (']', true) => in_class = false,
            ('{', false) => {
                let numbers: String = characters.clone().take_while(|sign| *sign != '}').collect();
                let mut numbers = numbers.split(',').filter(|number| !number.is_empty());
                let is_too_often = |number: &str| {
                    number.bytes().all(|byte| byte.is_ascii_digit())
                        && number.parse().map_or(true, |number: u32| number > MOST_REPETITIONS)
                };
                if numbers.any(is_too_often) {
                    return refuse(format!("it repeats a part more than {MOST_REPETITIONS} times"));
                }
            }
            ('(', false) if next == Some('?') => {
                let flags: String =
                    characters.clone().skip(1).take_while(|flag| !":<)".contains(*flag)).collect();
                if !flags.chars().all(|flag| "Pimsu-".contains(flag)) || flags.contains('u') {
                    return refuse(format!("`(?{flags}` is not supported; leave it out"));
                }
            }
            _ => {}
        }
        translated.push(character);
    }
    match Pattern::compile(&translated) {
        Ok(_) => Ok(translated),
        Err(regex::Error::CompiledTooBig(_)) => refuse("it is too large".to_owned()),
        Err(error) => {
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            refuse(why.to_owned())
        }
    }
}

/// Copies signs to the one that ends them.
fn copy_until(end: char, from: &mut Peekable<Chars<'_>>, to: &mut String) {
    for sign in from {
        to.push(sign);
        if sign == end {
            return;
        }
    }
}

/// What stands here for an escaped character there.
fn escape(escaped: char, in_class: bool) -> Option<String> {
    let written = match escaped {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => "[\\t\\n\\f\\r ]",
        'S' => "[^\\t\\n\\f\\r ]",
        'b' if !in_class => "(?-u:\\b)",
        // Words that begin and end, in the one; signs in the other.
        '<' | '>' => return Some(escaped.to_string()),
        'A' | 'z' if !in_class => return Some(format!("\\{escaped}")),
        'a' | 'f' | 'n' | 'r' | 't' | 'v' | 'x' | 'p' | 'P' => return Some(format!("\\{escaped}")),
        sign if sign.is_ascii_punctuation() => return Some(format!("\\{sign}")),
        _ => return None,
    };
    Some(written.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_mean_ascii() {
        for (pattern, text, expected) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^[\d.]+$", "1.2", true),
            (r"^[^\d]$", "a", true),
            (r"^[^\d]$", "1", false),
            (r"^\w+$", "é", false),
            (r"\bcart\b", "the cart is", true),
            (r"^\s$", "\u{b}", false),
            (r"^[]a]+$", "]a", true),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"^db-[0-9]+$", "db-17", true),
            (r"^(?i)WEB$", "web", true),
            (r"a\.b", "axb", false),
            (r"\<a\>", "<a>", true),
            (r"^a{1000}$", "a", false),
            (r"^\x{2003}$", "\u{2003}", true),
            (r"^[a{2}]+$", "{2}", true),
        ] {
            let translated = translate(pattern).unwrap();
            let found = Regex::new(&translated).unwrap().is_match(text);
            assert_eq!(found, expected, "{pattern} as {translated} on {text}");
        }
    }

    #[test]
    fn what_is_read_otherwise_is_refused() {
        for pattern in [
            r"[a&&b]",
            r"[a--b]",
            r"[a~~b]",
            r"[[a]b]",
            r"(?x)a b",
            r"(?u)a",
            r"\Ba",
            r"\Qa\E",
            r"\u0041",
            "(",
            r"\",
            r"[a",
            "a{1001}",
            "a{2,1001}",
            "a{99999999999}",
            "(a{100}){100}",
        ] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
    }
}
