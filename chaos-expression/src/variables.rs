//! Keeps the values that an expression is evaluated with.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cel::{Value, objects::Key};

/// Values of variables, by their names.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    values: HashMap<String, Value>,
}

impl Variables {
    /// With a number that has a fraction.
    pub fn double(self, name: &str, value: f64) -> Self {
        self.with(name, Value::Float(value))
    }

    /// With a whole number.
    pub fn int(self, name: &str, value: i64) -> Self {
        self.with(name, Value::Int(value))
    }

    pub fn bool(self, name: &str, value: bool) -> Self {
        self.with(name, Value::Bool(value))
    }

    pub fn string(self, name: &str, value: &str) -> Self {
        self.with(name, Value::String(Arc::new(value.to_owned())))
    }

    pub fn duration(self, name: &str, value: Duration) -> Self {
        let value = chrono::Duration::from_std(value).unwrap_or(chrono::Duration::MAX);
        self.with(name, Value::Duration(value))
    }

    /// With what a text in JSON stands for. Numbers are whole where they are written without a fraction.
    pub fn json(self, name: &str, value: &serde_json::Value) -> Self {
        self.with(name, from_json(value))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }
}

fn from_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::String(Arc::new(text.clone())),
        serde_json::Value::Array(items) => {
            Value::List(Arc::new(items.iter().map(from_json).collect()))
        }
        serde_json::Value::Object(fields) => {
            let fields =
                fields.iter().map(|(key, value)| (Key::from(key.as_str()), from_json(value)));
            Value::from(fields.collect::<HashMap<_, _>>())
        }
    }
}
