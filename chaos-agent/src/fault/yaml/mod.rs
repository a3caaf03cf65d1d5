//! The YAML twin of the language, which is also its JSON and the custom resource's.

mod document;
mod from_twin;
mod scalar;
mod to_twin;
mod twin;

use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_saphyr::{Error, Location, MessageFormatter, Spanned, UserMessageFormatter};

use self::{
    document::{Item, Shape, Wrapped},
    from_twin::Misplaced,
    twin::Twin,
};
use super::{
    errors::{Diagnostic, Errors},
    mistake::Mistake,
    model::Fault,
    parse::{Sentence, parse},
};

/// Reads faults from YAML (so JSON too): one fault, a list of faults, or `faults:` with a
/// list. An entry of a list may also be a text of sentences.
///
/// Mistakes of form end the reading; those of content are all reported together.
pub fn read_yaml(text: &str) -> Result<Vec<Sentence>, Errors> {
    let mut sentences = Vec::new();
    let mut diagnostics = Vec::new();
    for item in items(text).map_err(|error| Errors::from(form_mistake(text, &error)))? {
        let Spanned { value, referenced: location, .. } = item;
        match value {
            Item::Fault(twin) => match from_twin::fault(&twin, location) {
                Ok(fault) => sentences.push(Sentence { fault, span: span(location) }),
                Err(wrong) => diagnostics.extend(wrong.into_iter().map(|misplaced| {
                    Diagnostic::new(text, span(misplaced.location), misplaced.mistake)
                })),
            },
            Item::Text(inner) => match parse(&inner) {
                Ok(read) => sentences.extend(read.into_iter().map(|sentence| Sentence {
                    span: outer_span(text, location, &inner, sentence.span),
                    fault: sentence.fault,
                })),
                Err(errors) => diagnostics.extend(errors.iter().map(|error| {
                    let span = outer_span(text, location, &inner, error.span.clone());
                    let mistake =
                        Mistake { message: error.message.clone(), help: error.help.clone() };
                    Diagnostic::new(text, span, mistake)
                })),
            },
        }
    }
    Errors::from_diagnostics(diagnostics).map_or(Ok(sentences), Err)
}

/// The faults as a YAML list that [`read_yaml`] reads.
pub fn to_yaml(faults: &[Fault]) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(&faults)
}

/// Reads faults from either form, told apart by how the text begins.
pub fn read(text: &str) -> Result<Vec<Sentence>, Errors> {
    if looks_like_yaml(text) { read_yaml(text) } else { parse(text) }
}

/// No sentence begins with a bracket, a dash or a word and a colon; every YAML form does.
fn looks_like_yaml(text: &str) -> bool {
    let lines = text.lines().map(str::trim);
    let first = lines.into_iter().find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| {
        let word = line.split_whitespace().next().unwrap_or_default();
        line.starts_with(['-', '[', '{']) || word.ends_with(':')
    })
}

fn items(text: &str) -> Result<Vec<Spanned<Item>>, Error> {
    match serde_saphyr::from_str(text)? {
        Shape::List => serde_saphyr::from_str(text),
        Shape::Wrapped => Ok(serde_saphyr::from_str::<Wrapped>(text)?.faults),
        Shape::One => Ok(vec![serde_saphyr::from_str(text)?]),
    }
}

/// What the YAML reader, or serde, had to say, in the words of the language.
fn form_mistake(text: &str, error: &Error) -> Diagnostic {
    let error = error.without_snippet();
    let location = error.location().unwrap_or(Location::UNKNOWN);
    let mistake = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            from_twin::unknown_field(field, expected)
        }
        Error::SerdeMissingField { field, .. } => {
            Mistake::new(format!("the field `{field}` is missing"))
        }
        Error::MultipleDocuments { .. } => Mistake::new("there is more than one YAML document")
            .help("one document, with a list of faults"),
        error => Mistake::new(UserMessageFormatter.format_message(error).into_owned()),
    };
    Diagnostic::new(text, span(location), mistake)
}

fn span(location: Location) -> Range<usize> {
    let span = location.span();
    let byte = |offset: Option<u64>| usize::try_from(offset.unwrap_or(0)).unwrap_or(0);
    let start = byte(span.byte_offset());
    start..start + byte(span.byte_len())
}

/// Where a span of a text inside YAML is in the YAML. Quotes, escapes and indentation make the
/// two differ; then the line is looked for, and failing that the whole scalar is meant.
fn outer_span(yaml: &str, scalar: Location, inner: &str, at: Range<usize>) -> Range<usize> {
    let scalar = span(scalar);
    let raw = yaml.get(scalar.clone()).unwrap_or_default();
    let line_start = inner[..at.start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = inner[line_start..].split('\n').next().unwrap_or_default();
    match raw.find(line) {
        Some(offset) => {
            let start = scalar.start + offset + at.start - line_start;
            start..start + at.len()
        }
        None => scalar,
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Twin::from(self).serialize(serializer)
    }
}

/// Well-formed faults only; the error names every mistake.
impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let twin = Twin::deserialize(deserializer)?;
        from_twin::fault(&twin, Location::UNKNOWN).map_err(|wrong| {
            let texts = wrong.into_iter().map(|Misplaced { mistake, .. }| mistake.to_string());
            de::Error::custom(texts.collect::<Vec<_>>().join("; "))
        })
    }
}

#[cfg(test)]
mod tests;
