//! The YAML twin of the language, which is also its JSON and the custom resource's.

mod document;
mod form;
mod from_twin;
mod place;
mod scalar;
mod to_twin;
mod twin;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_saphyr::{Error, Location, Spanned};

use self::{
    document::{Item, Shape, Wrapped},
    from_twin::Misplaced,
    place::{inside, span},
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
    for item in items(text).map_err(|error| Errors::from(form::diagnostic(text, &error)))? {
        let Spanned { value, referenced: location, .. } = item;
        match value {
            Item::Fault(twin) => match from_twin::fault(&twin, location) {
                Ok(fault) => sentences.push(Sentence { fault, span: span(text, location) }),
                Err(wrong) => diagnostics.extend(wrong.into_iter().map(|misplaced| {
                    Diagnostic::new(text, span(text, misplaced.location), misplaced.mistake)
                })),
            },
            Item::Text(inner) => match parse(&inner) {
                Ok(read) => sentences.extend(read.into_iter().map(|sentence| Sentence {
                    span: inside(text, location, &inner, sentence.span),
                    fault: sentence.fault,
                })),
                Err(errors) => diagnostics.extend(errors.iter().map(|error| {
                    let span = inside(text, location, &inner, error.span.clone());
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
