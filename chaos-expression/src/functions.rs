//! Lists the functions of the language, and calls them.

use std::cmp::Ordering;

use cel::Value;

use crate::{
    ExpressionError,
    cost::Cost,
    duration::{read_duration, read_time},
    kind::Kind,
    operators::compare,
    pattern::Pattern,
};

/// How a function is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `size(x)`
    Global,
    /// `x.size()`
    Method,
    /// `math.abs(x)`
    Math,
}

/// Each function with its form and how many values it takes, besides the one before the dot.
const FUNCTIONS: [(&str, Form, std::ops::RangeInclusive<usize>); 18] = [
    ("size", Form::Global, 1..=1),
    ("size", Form::Method, 0..=0),
    ("int", Form::Global, 1..=1),
    ("double", Form::Global, 1..=1),
    ("duration", Form::Global, 1..=1),
    ("timestamp", Form::Global, 1..=1),
    ("startsWith", Form::Method, 1..=1),
    ("endsWith", Form::Method, 1..=1),
    ("contains", Form::Method, 1..=1),
    ("matches", Form::Method, 1..=1),
    ("min", Form::Method, 0..=0),
    ("max", Form::Method, 0..=0),
    ("greatest", Form::Math, 1..=16),
    ("least", Form::Math, 1..=16),
    ("abs", Form::Math, 1..=1),
    ("ceil", Form::Math, 1..=1),
    ("floor", Form::Math, 1..=1),
    ("round", Form::Math, 1..=1),
];

/// What is called `math` before a dot.
pub const MATH: &str = "math";

/// Whether there is such a function.
pub fn is_known(name: &str, form: Form, count: usize) -> bool {
    FUNCTIONS
        .iter()
        .any(|(known, shape, counts)| *known == name && *shape == form && counts.contains(&count))
}

/// Whether a function of that name is written behind `math`.
pub fn is_of_math(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, form, _)| *known == name && *form == Form::Math)
}

/// All functions, as they are written.
pub fn all_written() -> String {
    let written = FUNCTIONS.iter().map(|(name, form, counts)| match (form, counts.end()) {
        (Form::Global, _) => format!("{name}(…)"),
        (Form::Method, 0) => format!(".{name}()"),
        (Form::Method, _) => format!(".{name}(…)"),
        (Form::Math, _) => format!("math.{name}(…)"),
    });
    let macros = ["has(…)", ".all(…)", ".exists(…)", ".exists_one(…)", ".filter(…)", ".map(…)"];
    let macros = macros.into_iter().map(str::to_owned);
    written.chain(macros).collect::<Vec<_>>().join(", ")
}

/// Calls a function that [`is_known`]. The value before a dot is the first of `values`.
pub fn call(name: &str, values: &[Value], cost: &mut Cost) -> Result<Value, ExpressionError> {
    match (name, values) {
        ("size", [of]) => size(of, cost),
        ("int", [of]) => int(of, cost),
        ("double", [of]) => double(of, cost),
        ("duration", [Value::String(text)]) => {
            cost.charge_bytes(text.len())?;
            read_duration(text).map(Value::Duration)
        }
        ("timestamp", [Value::String(text)]) => {
            cost.charge_bytes(text.len())?;
            read_time(text).map(Value::Timestamp)
        }
        ("startsWith", [Value::String(text), Value::String(part)]) => {
            cost.charge_bytes(part.len().min(text.len()))?;
            Ok(Value::Bool(text.starts_with(part.as_str())))
        }
        ("endsWith", [Value::String(text), Value::String(part)]) => {
            cost.charge_bytes(part.len().min(text.len()))?;
            Ok(Value::Bool(text.ends_with(part.as_str())))
        }
        ("contains", [Value::String(text), Value::String(part)]) => {
            cost.charge_bytes(text.len().saturating_add(part.len()))?;
            Ok(Value::Bool(text.contains(part.as_str())))
        }
        ("matches", [Value::String(text), Value::String(pattern)]) => {
            let pattern = Pattern::compile(pattern)
                .map_err(|error| ExpressionError::Value(error.to_string()))?;
            pattern.matches(text, cost).map(Value::Bool)
        }
        ("min", [Value::List(list)]) => extreme(name, list, Ordering::Less, cost),
        ("max", [Value::List(list)]) => extreme(name, list, Ordering::Greater, cost),
        ("greatest", [Value::List(list)]) => numbers(name, list, Ordering::Greater, cost),
        ("least", [Value::List(list)]) => numbers(name, list, Ordering::Less, cost),
        ("greatest", values) => numbers(name, values, Ordering::Greater, cost),
        ("least", values) => numbers(name, values, Ordering::Less, cost),
        ("abs", [Value::Int(number)]) => number.checked_abs().map(Value::Int).ok_or_else(|| {
            ExpressionError::Value("the least int has no absolute value".to_owned())
        }),
        ("abs", [Value::Float(number)]) => Ok(Value::Float(number.abs())),
        ("ceil", [Value::Float(number)]) => Ok(Value::Float(number.ceil())),
        ("floor", [Value::Float(number)]) => Ok(Value::Float(number.floor())),
        ("round", [Value::Float(number)]) => Ok(Value::Float(number.round())),
        _ => Err(no_overload(name, values)),
    }
}

/// An operation that does not go with the types of what it is given.
pub fn no_overload(operation: &str, values: &[Value]) -> ExpressionError {
    let names = values.iter().map(|value| Kind::of(value).map_or("unknown", Kind::name));
    ExpressionError::NoOverload {
        operation: format!("`{operation}`"),
        operands: names.collect::<Vec<_>>().join(" and "),
    }
}

fn size(of: &Value, cost: &mut Cost) -> Result<Value, ExpressionError> {
    let size = match of {
        Value::List(list) => list.len(),
        Value::Map(map) => map.map.len(),
        Value::String(text) => {
            cost.charge_bytes(text.len())?;
            text.chars().count()
        }
        other => return Err(no_overload("size", std::slice::from_ref(other))),
    };
    Ok(Value::Int(size.try_into().unwrap_or(i64::MAX)))
}

fn int(of: &Value, cost: &mut Cost) -> Result<Value, ExpressionError> {
    let wrong = |what: &str| ExpressionError::Value(format!("a {what} is no int"));
    match of {
        Value::Int(number) => Ok(Value::Int(*number)),
        // What follows are 2^63 and its negative.
        Value::Float(number) if number.abs() < 9_223_372_036_854_775_808.0 => {
            Ok(Value::Int(*number as i64))
        }
        Value::Float(_) => Err(wrong("number")),
        Value::String(text) => {
            cost.charge_bytes(text.len())?;
            text.parse().map(Value::Int).map_err(|_| wrong("text"))
        }
        other => Err(no_overload("int", std::slice::from_ref(other))),
    }
}

fn double(of: &Value, cost: &mut Cost) -> Result<Value, ExpressionError> {
    match of {
        Value::Int(number) => Ok(Value::Float(*number as f64)),
        Value::Float(number) => Ok(Value::Float(*number)),
        Value::String(text) => {
            cost.charge_bytes(text.len())?;
            let is_plain =
                text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            let read = text.parse().ok().filter(|number: &f64| is_plain && number.is_finite());
            let wrong = || ExpressionError::Value("a text is no double".to_owned());
            read.map(Value::Float).ok_or_else(wrong)
        }
        other => Err(no_overload("double", std::slice::from_ref(other))),
    }
}

fn numbers(
    name: &str,
    values: &[Value],
    wanted: Ordering,
    cost: &mut Cost,
) -> Result<Value, ExpressionError> {
    let is_number = |value: &Value| matches!(value, Value::Int(_) | Value::Float(_));
    if let Some(other) = values.iter().find(|value| !is_number(value)) {
        return Err(no_overload(name, std::slice::from_ref(other)));
    }
    extreme(name, values, wanted, cost)
}

/// The value that is `wanted` of all others: less, or greater.
fn extreme(
    name: &str,
    values: &[Value],
    wanted: Ordering,
    cost: &mut Cost,
) -> Result<Value, ExpressionError> {
    cost.charge(values.len())?;
    let empty = || ExpressionError::Value(format!("`{name}` of an empty list has no value"));
    let (first, others) = values.split_first().ok_or_else(empty)?;
    // One value alone is compared with itself, so that it is of a type that can be.
    compare(name, first, first, cost)?;
    let mut found = first;
    for other in others {
        if compare(name, other, found, cost)? == wanted {
            found = other;
        }
    }
    Ok(found.clone())
}
