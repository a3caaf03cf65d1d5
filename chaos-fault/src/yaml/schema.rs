//! Describes the YAML form as a JSON schema, for editors and for whoever generates faults.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

use super::{form::Form, scalar::Scalar};
use crate::verbs::VERBS;

/// A document of faults, as draft 2020-12 of JSON Schema has it (<https://json-schema.org/draft/2020-12>): one
/// fault, a list of faults and sentences, or a list under `faults`.
///
/// What goes together with what, and how values are spelled, is not in it: the reader tells, with the place.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let fault = generator.subschema_for::<Form>();
    let item = json!({ "anyOf": [{ "type": "string", "description": "Sentences." }, fault] });
    let mut definitions = generator.take_definitions(true);
    if let Some(form) = definitions.get_mut(&*Form::schema_name()) {
        describe_verbs(form);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Faults of chaos-agent",
        "anyOf": [
            fault,
            { "type": "array", "items": item },
            {
                "type": "object",
                "properties": { "faults": { "type": "array", "items": item } },
                "required": ["faults"],
                "additionalProperties": false,
            },
        ],
        "$defs": definitions,
    })
}

/// Says of each verb what it does, and that a fault has one of them.
fn describe_verbs(form: &mut Value) {
    let mut fields: Map<String, Value> = Map::new();
    for row in VERBS {
        let said = format!("{} `{}`", row.summary, row.example);
        match fields.get_mut(row.field) {
            Some(Value::String(before)) => {
                before.push(' ');
                before.push_str(&said);
            }
            _ => drop(fields.insert(row.field.to_owned(), Value::String(said))),
        }
    }
    let is_one: Vec<Value> = fields.keys().map(|field| json!({ "required": [field] })).collect();
    for (field, said) in fields {
        if let Some(Value::Object(property)) = form["properties"].get_mut(&field) {
            property.insert("description".to_owned(), said);
        }
    }
    form["oneOf"] = Value::Array(is_one);
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"] })
    }
}

#[cfg(test)]
mod tests {
    use jsonschema::{Validator, validator_for};
    use proptest::prelude::*;

    use super::*;
    use crate::{arbitrary, read_yaml};

    fn validator() -> Validator {
        validator_for(&schema()).expect("a schema")
    }

    #[test]
    fn what_the_reader_takes_is_valid() {
        let validator = validator();
        for document in [
            json!({ "drop": {} }),
            json!({ "delay": { "by": "100ms", "jitter": "5ms" }, "for": "5m" }),
            json!(["drop 10%; corrupt 1%", { "corrupt": { "silent": true }, "chance": "1%" }]),
            json!({ "faults": [{ "drop": {}, "every": 5, "to": { "ports": [80, "8000-8080"] } }] }),
        ] {
            assert!(read_yaml(&document.to_string()).is_ok(), "{document}");
            assert!(validator.is_valid(&document), "{document}");
        }
    }

    #[test]
    fn what_has_no_such_form_is_not() {
        let validator = validator();
        for document in [
            json!({}),
            json!({ "drop": {}, "delay": { "by": "1ms" } }),
            json!({ "dorp": {} }),
            json!({ "drop": {}, "chanse": "10%" }),
            json!({ "drop": { "silent": true } }),
            json!({ "drop": {}, "to": { "port": 80 } }),
            json!({ "fail": { "calls": "read", "with": ["EIO"] } }),
            json!({ "faults": { "drop": {} } }),
            json!({ "faults": [], "drop": {} }),
            json!([["drop"]]),
        ] {
            assert!(
                !read_yaml(&document.to_string()).is_ok_and(|read| !read.is_empty()),
                "{document}"
            );
            assert!(!validator.is_valid(&document), "{document}");
        }
    }

    #[test]
    fn each_field_is_described() {
        let schema = schema();
        let fields = schema["$defs"]["Form"]["properties"].as_object().expect("fields");
        assert!(VERBS.iter().all(|row| fields.contains_key(row.field)), "{fields:?}");
        for (field, said) in fields {
            assert!(said["description"].is_string(), "{field}: {said}");
        }
    }

    proptest! {
        #[test]
        fn every_fault_is_valid(fault in arbitrary::fault()) {
            let json = serde_json::to_value(&fault).unwrap();
            let validator = validator();
            let wrong: Vec<String> =
                validator.iter_errors(&json).map(|error| error.to_string()).collect();
            prop_assert!(wrong.is_empty(), "{json}: {wrong:?}");
        }
    }
}
