//! The YAML form of the language, which is also its JSON and the custom resource's.

mod document;
mod field_errors;
mod form;
mod from_form;
mod place;
mod placed;
mod scalar;
mod schema;
mod to_form;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use serde_saphyr::{Error, Location};

pub use self::schema::schema;
use self::{
    document::{Item, Shape, Wrapped},
    from_form::Misplaced,
    place::{Places, Scalar},
    placed::Placed,
};
pub(super) use self::{
    form::{By, Corrupt, Fail, FailDns, Form, Kill, Limit, Slow},
    from_form::{Builder, place},
    to_form::{delay, names, no_parts, time, unplaced, word},
};
use super::{
    abbreviate::abbreviated,
    errors::{Errors, and_more},
    mistakes::{MOST_SHOWN, Mistakes},
    model::Fault,
    parse::{self, Sentence, parse, sentences},
    without_bom,
};

/// Reads faults from YAML (so JSON too): one fault, a list of faults, or `faults:` with a
/// list. An entry of a list may also be a text of sentences.
///
/// Mistakes of form end the reading; those of content are all reported together.
pub fn read_yaml(text: &str) -> Result<Vec<Sentence>, Errors> {
    let mut read = Vec::new();
    let mut mistakes = Mistakes::of(text);
    let places = Places::of(text);
    let items =
        items(without_bom(text).0).map_err(|error| field_errors::errors(text, &places, &error))?;
    for item in items {
        let (value, location) = item.into_parts();
        match value {
            Item::Fault(form) => match from_form::fault(&form, location) {
                Ok(fault) => read.push(Sentence { fault, span: places.span(location) }),
                Err(wrong) => wrong.into_iter().for_each(|Misplaced { location, mistake }| {
                    mistakes.add(places.span(location), mistake);
                }),
            },
            Item::Text(inner) => {
                let mut scalar = Scalar::new(text, places.span(location), &inner);
                for sentence in sentences(&inner) {
                    match sentence {
                        Ok(Sentence { fault, span }) => {
                            read.push(Sentence { fault, span: scalar.place(span) });
                        }
                        Err(fails) => {
                            fails.into_iter().for_each(|parse::Fail { span, mistake }| {
                                mistakes.add(scalar.place(span), mistake);
                            })
                        }
                    }
                }
            }
        }
    }
    mistakes.into_errors().map_or(Ok(read), Err)
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
    let lines = without_bom(text).0.lines().map(str::trim);
    let first = lines.into_iter().find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| {
        let word = line.split_whitespace().next().unwrap_or_default();
        line.starts_with(['-', '[', '{']) || word.ends_with(':')
    })
}

fn items(text: &str) -> Result<Vec<Placed<Item>>, Error> {
    match serde_saphyr::from_str(text)? {
        Shape::List => serde_saphyr::from_str(text),
        Shape::Wrapped => Ok(serde_saphyr::from_str::<Wrapped>(text)?.faults),
        Shape::One => Ok(vec![serde_saphyr::from_str(text)?]),
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Form::from(self).serialize(serializer)
    }
}

/// Well-formed faults only; the error names the mistakes. Whatever the format is, the fault is read as YAML.
impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Value::deserialize(deserializer)?.to_string();
        let form: Form = serde_saphyr::from_str(&json)
            .map_err(|error| de::Error::custom(error.without_snippet()))?;
        from_form::fault(&form, Location::UNKNOWN).map_err(|wrong| {
            let more = and_more(wrong.len().saturating_sub(MOST_SHOWN));
            let shown = wrong.into_iter().take(MOST_SHOWN);
            let texts = shown.map(|Misplaced { mistake, .. }| abbreviated(mistake.to_string()));
            de::Error::custom(texts.chain(more).collect::<Vec<_>>().join("; "))
        })
    }
}

#[cfg(test)]
mod tests;
