//! Checks a value by the schema in the definition of its kind: types, bounds, unknown and missing fields.

use chaos_fault::closest;
use regex::Regex;
use serde_json::{Map, Value};

use super::places::Path;

/// What is wrong with a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub path: Path,
    /// About the key, not about what it has.
    pub on_key: bool,
    pub message: String,
    pub help: Option<String>,
}

/// Every mistake of a value.
pub fn check(schema: &Value, value: &Value, path: Path) -> Vec<Finding> {
    let mut checker = Checker { findings: Vec::new() };
    checker.value(schema, value, &path);
    checker.findings
}

struct Checker {
    findings: Vec<Finding>,
}

impl Checker {
    fn add(&mut self, path: &[String], message: String) {
        let path = path.to_vec();
        self.findings.push(Finding { path, on_key: false, message, help: None });
    }

    fn value(&mut self, schema: &Value, value: &Value, path: &Path) {
        let is_number_or_text = schema["x-kubernetes-int-or-string"] == true;
        if is_number_or_text && !(value.is_i64() || value.is_string()) {
            return self.add(path, format!("{} stands where a number or a text must", kind(value)));
        }
        if value.is_null() && schema["nullable"] == true {
            return;
        }
        if let Some(expected) = schema["type"].as_str()
            && !is_number_or_text
            && !is_of(expected, value)
        {
            let is_bare =
                matches!((expected, value), ("string", Value::Number(_) | Value::Bool(_)));
            self.add(path, format!("{} stands where {} must", kind(value), in_words(expected)));
            if let Some(last) = self.findings.last_mut().filter(|_| is_bare) {
                let pattern = schema["pattern"].as_str();
                let united = pattern.and_then(|pattern| with_unit(pattern, &value.to_string()));
                last.help = Some(united.unwrap_or(format!("write it in quotes: \"{value}\"")));
            }
            return;
        }
        self.choice(schema, value, path);
        match value {
            Value::String(text) => self.text(schema, text, path),
            Value::Number(number) => self.number(schema, number.as_f64().unwrap_or(0.0), path),
            Value::Array(items) => self.list(schema, items, path),
            Value::Object(fields) => self.object(schema, fields, path),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn choice(&mut self, schema: &Value, value: &Value, path: &Path) {
        let Some(allowed) = schema["enum"].as_array() else { return };
        if allowed.contains(value) {
            return;
        }
        let words: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        self.add(path, format!("{value} is none of {}", words.join(", ")));
        let near = value.as_str().and_then(|word| closest(word, words));
        if let (Some(last), Some(near)) = (self.findings.last_mut(), near) {
            last.help = Some(format!("did you mean `{near}`?"));
        }
    }

    fn text(&mut self, schema: &Value, text: &str, path: &Path) {
        let length = text.chars().count() as u64;
        if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
            self.add(path, format!("it has {length} characters, and at least {least} must be"));
        }
        if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
            self.add(path, format!("it has {length} characters, and at most {most} may be"));
        }
        let Some(pattern) = schema["pattern"].as_str() else { return };
        if Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text)) {
            self.add(path, format!("`{text}` has not the form that it must have"));
            let help = with_unit(pattern, text).unwrap_or_else(|| match example(pattern) {
                Some(example) => format!("write it such as `{example}`"),
                None => format!("the form is `{pattern}`"),
            });
            if let Some(last) = self.findings.last_mut() {
                last.help = Some(help);
            }
        }
    }

    fn number(&mut self, schema: &Value, number: f64, path: &Path) {
        if let Some(least) = schema["minimum"].as_f64().filter(|least| number < *least) {
            self.add(path, format!("{number} is less than {least}, the least that may be"));
        }
        if let Some(most) = schema["maximum"].as_f64().filter(|most| number > *most) {
            self.add(path, format!("{number} is more than {most}, the most that may be"));
        }
    }

    fn list(&mut self, schema: &Value, items: &[Value], path: &Path) {
        self.size(schema, "minItems", "maxItems", items.len(), "items", path);
        for (index, item) in items.iter().enumerate() {
            self.value(&schema["items"], item, &joined(path, &index.to_string()));
        }
    }

    fn object(&mut self, schema: &Value, fields: &Map<String, Value>, path: &Path) {
        self.size(schema, "minProperties", "maxProperties", fields.len(), "fields", path);
        let none = Map::new();
        let known = schema["properties"].as_object().unwrap_or(&none);
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                self.add(path, format!("the field `{name}` is missing"));
            }
        }
        for (name, value) in fields {
            let path = joined(path, name);
            match (known.get(name), schema["additionalProperties"].as_object()) {
                (Some(schema), _) => self.value(schema, value, &path),
                (None, Some(_)) => self.value(&schema["additionalProperties"], value, &path),
                (None, None) => {
                    let is_open =
                        schema["x-kubernetes-preserve-unknown-fields"] == true || known.is_empty();
                    if !is_open {
                        self.unknown(name, known, path);
                    }
                }
            }
        }
    }

    fn unknown(&mut self, name: &str, known: &Map<String, Value>, path: Path) {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let help = match closest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", names.join(", ")),
        };
        let message = format!("`{}` is no field", super::places::words(&path));
        self.findings.push(Finding { path, on_key: true, message, help: Some(help) });
    }

    fn size(
        &mut self,
        schema: &Value,
        least: &str,
        most: &str,
        size: usize,
        what: &str,
        path: &Path,
    ) {
        let size = size as u64;
        if let Some(least) = schema[least].as_u64().filter(|least| size < *least) {
            self.add(path, format!("it has {size} {what}, and at least {least} must be"));
        }
        if let Some(most) = schema[most].as_u64().filter(|most| size > *most) {
            self.add(path, format!("it has {size} {what}, and at most {most} may be"));
        }
    }
}

fn joined(path: &Path, part: &str) -> Path {
    let mut path = path.clone();
    path.push(part.to_owned());
    path
}

fn is_of(expected: &str, value: &Value) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    }
}

fn in_words(expected: &str) -> &str {
    match expected {
        "object" => "a map",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        other => other,
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("the text `{}`", text.chars().take(40).collect::<String>()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

/// What is said of a number that lacks nothing but its unit.
fn with_unit(pattern: &str, number: &str) -> Option<String> {
    let pattern = Regex::new(pattern).ok()?;
    // Names with a letter more are names as well: only where a number alone is none.
    let united = ["s", "%"].map(|unit| format!("{number}{unit}"));
    let united = united.into_iter().find(|united| pattern.is_match(united))?;
    let is_number = number.parse::<f64>().is_ok() && !pattern.is_match(number);
    is_number.then(|| format!("write it with a unit, such as `{united}`"))
}

/// A text that has the form of a pattern.
fn example(pattern: &str) -> Option<&'static str> {
    let pattern = Regex::new(pattern).ok()?;
    // The form of names fits durations, too.
    ["slow-dns", "5m", "30%"].into_iter().find(|example| pattern.is_match(example))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_mistake_is_found() {
        let schema = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": { "type": "string", "maxLength": 3, "pattern": "^[a-z]+$" },
                "mode": { "type": "string", "enum": ["Plan", "Armed"] },
                "pick": { "x-kubernetes-int-or-string": true },
                "count": { "type": "integer", "minimum": 1.0, "maximum": 5.0 },
                "list": { "type": "array", "maxItems": 1, "items": { "type": "boolean" } },
                "labels": { "type": "object", "additionalProperties": { "type": "string" } },
            },
        });
        let value = json!({
            "nmae": "x", "mode": "Plann", "pick": true, "count": 9, "list": [true, "no"],
            "labels": { "a": 1 }, "other": {},
        });
        let found: Vec<(String, String, Option<String>)> = check(&schema, &value, Vec::new())
            .into_iter()
            .map(|one| (super::super::places::words(&one.path), one.message, one.help))
            .collect();
        let expect = |path: &str, message: &str, help: &str| {
            let is = |one: &&(String, String, Option<String>)| {
                one.0 == path
                    && one.1.contains(message)
                    && one.2.as_deref().unwrap_or("").contains(help)
            };
            assert!(found.iter().any(|one| is(&one)), "{path} {message} {help}: {found:#?}");
        };
        expect("", "the field `name` is missing", "");
        expect("nmae", "`nmae` is no field", "did you mean `name`?");
        expect("other", "`other` is no field", "there are count, labels");
        expect("mode", "\"Plann\" is none of Plan, Armed", "did you mean `Plan`?");
        expect("pick", "true stands where a number or a text must", "");
        expect("count", "9 is more than 5", "");
        expect("list", "it has 2 items, and at most 1 may be", "");
        expect("list[1]", "the text `no` stands where true or false must", "");
        expect("labels.a", "1 stands where a text must", "write it in quotes: \"1\"");
        assert_eq!(found.len(), 9, "{found:#?}");
        assert_eq!(check(&schema, &json!({ "name": "abc", "pick": "5%" }), Vec::new()), []);
        let short = json!({ "type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$" });
        let found = check(&short, &json!("soon"), Vec::new());
        assert_eq!(found[0].help.as_deref(), Some("write it such as `5m`"));
        for bare in [json!(5), json!("5")] {
            let found = check(&short, &bare, Vec::new());
            assert_eq!(found[0].help.as_deref(), Some("write it with a unit, such as `5s`"));
        }
        let name = json!({ "type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" });
        let found = check(&name, &json!("Slow DNS"), Vec::new());
        assert_eq!(found[0].help.as_deref(), Some("write it such as `slow-dns`"));
        let found = check(&name, &json!(5), Vec::new());
        assert_eq!(found[0].help.as_deref(), Some("write it in quotes: \"5\""));
    }
}
