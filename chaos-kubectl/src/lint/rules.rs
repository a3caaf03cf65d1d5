//! Evaluates the CEL rules in the definition of a kind, as the API server does.

use kube_cel::{ErrorKind, ValidationErrors, validate};
use serde_json::{Value, json};

use super::{Document, places, schema::Finding};

/// What the server puts behind `generateName`.
const SUFFIX: &str = "xxxxx";

/// Every rule that an object breaks. A rule that cannot be evaluated here is left to the API server.
pub fn check(document: &Document) -> Vec<Finding> {
    let broken = evaluate(document).err().map(ValidationErrors::into_vec).unwrap_or_default();
    let broken = broken.into_iter().filter(|error| error.kind == ErrorKind::ValidationFailure);
    broken
        .map(|error| Finding {
            path: places::dotted(&document.root, &error.field_path),
            on_key: false,
            message: error.message,
            help: None,
        })
        .collect()
}

/// Evaluates all rules of the kind.
pub(super) fn evaluate(document: &Document) -> Result<(), ValidationErrors> {
    let mut object = document.object.clone();
    let beginning = object["metadata"]["generateName"].as_str().map(str::to_owned);
    if object["metadata"]["name"].is_null()
        && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
    {
        let name = format!("{}{SUFFIX}", beginning.unwrap_or_default());
        metadata.insert("name".to_owned(), json!(name));
    }
    validate(document.kind.schema(), &object, None)
}
