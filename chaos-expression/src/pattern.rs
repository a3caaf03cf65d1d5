//! Translates regular expressions of Go (RE2) into those of the crate `regex`, which reads some of them otherwise.

use crate::ExpressionError;

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
                    Some(written) => translated.push_str(&written),
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
                for part in characters.by_ref() {
                    translated.push(part);
                    if part == ']' {
                        break;
                    }
                }
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
    match regex::Regex::new(&translated) {
        Ok(_) => Ok(translated),
        Err(regex::Error::CompiledTooBig(_)) => refuse("it is too large".to_owned()),
        Err(error) => {
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            refuse(why.to_owned())
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
        ] {
            let translated = translate(pattern).unwrap();
            let found = regex::Regex::new(&translated).unwrap().is_match(text);
            assert_eq!(found, expected, "{pattern} as {translated} on {text}");
        }
    }

    #[test]
    fn what_is_read_otherwise_is_refused() {
        for pattern in [
            r"[a&&b]", r"[a--b]", r"[a~~b]", r"[[a]b]", r"(?x)a b", r"(?u)a", r"\Ba", r"\Qa\E",
            r"\u0041", "(", r"\", r"[a",
        ] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
    }
}
