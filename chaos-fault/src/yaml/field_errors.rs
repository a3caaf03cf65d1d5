//! What the YAML reader, or serde, had to say, in the words of the language.

use serde_saphyr::{Error, Location, MessageFormatter, UserMessageFormatter};

use super::place::Places;
use crate::{errors::Errors, mistake::Mistake, mistakes, suggest};

/// The error at its place in the text.
pub(super) fn errors(text: &str, places: &Places<'_>, error: &Error) -> Errors {
    let error = error.without_snippet();
    let location = error.location().unwrap_or(Location::UNKNOWN);
    let span = places.span(location);
    let found = text.get(span.clone()).filter(|found| !found.is_empty() && !found.contains('\n'));
    let expected = |what: &str| match found {
        Some(found) => Mistake::new(format!("expected {what}, found `{found}`")),
        None => Mistake::new(format!("expected {what}")),
    };
    let mistake = match error {
        Error::SerdeUnknownField { field, expected, .. } => unknown_field(field, expected),
        Error::SerdeMissingField { field, .. } => {
            Mistake::new(format!("the field `{field}` is missing"))
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            Mistake::new(format!("the field `{key}` is given twice"))
        }
        Error::MultipleDocuments { .. } => Mistake::new("there is more than one YAML document")
            .help("one document, with a list of faults"),
        Error::Unexpected { expected: "mapping start", .. } => {
            expected("fields").help("on lines of their own, or in braces: `{by: 100ms}`")
        }
        Error::Unexpected { expected: "sequence start", .. } => {
            expected("a list").help("a dash for each entry, or in brackets: `[a, b]`")
        }
        Error::InvalidScalar { ty: "boolean", .. } => expected("`true` or `false`"),
        Error::UnknownAnchor { .. } => Mistake::new("a value that begins with `*` needs quotes")
            .help("YAML has another meaning for the star: write `\"*.example.com\"`"),
        Error::SerdeInvalidType { expected: what, .. } => expected(what),
        error => Mistake::new(UserMessageFormatter.format_message(error).into_owned()),
    };
    mistakes::only(text, span, mistake)
}

/// A field that is not there, with the one that was meant.
fn unknown_field(field: &str, known: &[&'static str]) -> Mistake {
    let fields = match known {
        [] => "it has no fields: write `{}`".to_owned(),
        [only] => format!("the only field is `{only}`"),
        known => format!("fields are {}", known.join(", ")),
    };
    Mistake::new(format!("`{field}` is not a field here"))
        .help(fields)
        .maybe_help(suggest::did_you_mean(field, known.iter().copied()))
}
