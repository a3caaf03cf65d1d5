//! Reads label selectors as kubectl's `-l` has them.

use serde_json::{Map, Value, json};

/// Reads `app=web,track!=canary,tier in (a, b),zone notin (c),ready,!old` to a selector with `matchLabels` and
/// `matchExpressions`. The error says which part is wrong.
pub fn read(text: &str) -> Result<Value, String> {
    let mut labels = Map::new();
    let mut expressions = Vec::new();
    for part in parts(text)? {
        let part = part.trim();
        if let Some((key, value)) = part.split_once("!=") {
            expressions.push(requirement(part, key, "NotIn", vec![value.trim().to_owned()])?);
        } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            labels.insert(self::key(part, key)?, json!(value.trim()));
        } else if let Some(open) = part.find('(') {
            let (head, list) = part.split_at(open);
            let list = list.trim_start_matches('(').trim_end_matches(')');
            let values = list.split(',').map(|value| value.trim().to_owned()).collect();
            let (key, operator) = match head.trim().rsplit_once(char::is_whitespace) {
                Some((key, "in")) => (key, "In"),
                Some((key, "notin")) => (key, "NotIn"),
                _ => return Err(format!("`{part}`: write `KEY in (A,B)` or `KEY notin (A,B)`")),
            };
            expressions.push(requirement(part, key, operator, values)?);
        } else if let Some(key) = part.strip_prefix('!') {
            expressions.push(requirement(part, key, "DoesNotExist", Vec::new())?);
        } else {
            expressions.push(requirement(part, part, "Exists", Vec::new())?);
        }
    }
    let mut selector = Map::new();
    if !labels.is_empty() {
        selector.insert("matchLabels".to_owned(), labels.into());
    }
    if !expressions.is_empty() {
        selector.insert("matchExpressions".to_owned(), expressions.into());
    }
    Ok(selector.into())
}

fn requirement(
    part: &str,
    key: &str,
    operator: &str,
    values: Vec<String>,
) -> Result<Value, String> {
    let mut requirement = json!({ "key": self::key(part, key)?, "operator": operator });
    if !values.is_empty() {
        requirement["values"] = json!(values);
    }
    Ok(requirement)
}

fn key(part: &str, key: &str) -> Result<String, String> {
    let key = key.trim();
    let is_key = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if key.is_empty() || !key.chars().all(is_key) {
        return Err(format!(
            "`{part}`: `{key}` is not a label; write such as app=web,track!=canary"
        ));
    }
    Ok(key.to_owned())
}

/// Splits at commas that are not in brackets.
fn parts(text: &str) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0_usize);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or("a `)` has no `(`")?,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err("a `(` has no `)`".to_owned());
    }
    parts.push(&text[start..]);
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        assert_eq!(
            read("app=web, tier==a,track!=canary,zone in (a, b),os notin (x),ready,!old").unwrap(),
            json!({
                "matchLabels": { "app": "web", "tier": "a" },
                "matchExpressions": [
                    { "key": "track", "operator": "NotIn", "values": ["canary"] },
                    { "key": "zone", "operator": "In", "values": ["a", "b"] },
                    { "key": "os", "operator": "NotIn", "values": ["x"] },
                    { "key": "ready", "operator": "Exists" },
                    { "key": "old", "operator": "DoesNotExist" },
                ],
            })
        );
        for (wrong, expected) in [
            ("", "`` is not a label"),
            ("app=web,,b=c", "`` is not a label"),
            ("zone within (a)", "write `KEY in (A,B)`"),
            ("zone in (a", "has no `)`"),
            ("zone) in (a", "has no `(`"),
            ("ü=1", "`ü` is not a label"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(expected), "{wrong}: {error}");
        }
    }
}
