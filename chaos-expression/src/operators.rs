//! Compares values and calculates with them as the API server does.

use std::cmp::Ordering;

use cel::{
    Value,
    common::ast::operators,
    objects::{Key, KeyRef},
};

use crate::{ExpressionError, cost::Cost, functions::no_overload};

/// Does an operation of two values, other than those of logic.
pub fn operate(
    operator: &str,
    left: Value,
    right: Value,
    cost: &mut Cost,
) -> Result<Value, ExpressionError> {
    let mut compared = |wanted: fn(Ordering) -> bool| {
        compare(operator, &left, &right, cost).map(|ordering| Value::Bool(wanted(ordering)))
    };
    match operator {
        operators::LESS => compared(Ordering::is_lt),
        operators::LESS_EQUALS => compared(Ordering::is_le),
        operators::GREATER => compared(Ordering::is_gt),
        operators::GREATER_EQUALS => compared(Ordering::is_ge),
        operators::EQUALS => equal(&left, &right, cost).map(Value::Bool),
        operators::NOT_EQUALS => equal(&left, &right, cost).map(|equal| Value::Bool(!equal)),
        operators::IN => contains(&right, &left, cost).map(Value::Bool),
        operators::INDEX => index(&left, &right, cost),
        _ => calculate(operator, left, right, cost),
    }
}

/// Numbers are equal by their value, whatever their types; what is of other types differs. A duration is not compared with
/// a number: that would never be equal, and is a mistake.
pub fn equal(left: &Value, right: &Value, cost: &mut Cost) -> Result<bool, ExpressionError> {
    cost.charge(1)?;
    match (left, right) {
        (Value::String(left), Value::String(right)) => {
            cost.charge_bytes(left.len().min(right.len()))?;
            Ok(left == right)
        }
        (Value::List(left), Value::List(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right.iter()) {
                if !equal(left, right, cost)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Map(left), Value::Map(right)) => {
            if left.map.len() != right.map.len() {
                return Ok(false);
            }
            for (key, left) in left.map.iter() {
                cost.charge_bytes(length(key))?;
                let Some(right) = right.get(key) else { return Ok(false) };
                if !equal(left, right, cost)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Duration(_), Value::Int(_) | Value::Float(_))
        | (Value::Int(_) | Value::Float(_), Value::Duration(_)) => {
            Err(no_overload(operators::EQUALS, &[left.clone(), right.clone()]))
        }
        (left, right) => Ok(left == right),
    }
}

/// The order of numbers, texts, booleans, durations and times; of nothing else.
pub fn compare(
    operation: &str,
    left: &Value,
    right: &Value,
    cost: &mut Cost,
) -> Result<Ordering, ExpressionError> {
    if let (Value::String(left), Value::String(right)) = (left, right) {
        cost.charge_bytes(left.len().min(right.len()))?;
    }
    let ordering = match (left, right) {
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_))
        | (Value::String(_), Value::String(_))
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Duration(_), Value::Duration(_))
        | (Value::Timestamp(_), Value::Timestamp(_)) => left.partial_cmp(right),
        _ => None,
    };
    ordering.ok_or_else(|| no_overload(operation, &[left.clone(), right.clone()]))
}

fn contains(container: &Value, value: &Value, cost: &mut Cost) -> Result<bool, ExpressionError> {
    match (container, value) {
        (Value::List(list), value) => {
            for item in list.iter() {
                if equal(item, value, cost)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Value::Map(map), Value::String(key)) => {
            cost.charge_bytes(key.len())?;
            Ok(map.get(&KeyRef::String(key)).is_some())
        }
        (Value::Map(map), Value::Int(key)) => Ok(map.get(&Key::Int(*key)).is_some()),
        (container, value) => Err(no_overload("in", &[value.clone(), container.clone()])),
    }
}

/// How long a key is, in bytes: whoever looks for it reads all of it.
pub fn length(key: &Key) -> usize {
    match key {
        Key::String(text) => text.len(),
        Key::Int(_) | Key::Uint(_) | Key::Bool(_) => 0,
    }
}

/// An element of a list, or what a map has for a key.
pub fn index(of: &Value, at: &Value, cost: &mut Cost) -> Result<Value, ExpressionError> {
    match (of, at) {
        (Value::List(list), Value::Int(index)) => {
            let found = usize::try_from(*index).ok().and_then(|index| list.get(index));
            found.cloned().ok_or(ExpressionError::NoElement)
        }
        (Value::Map(map), Value::String(key)) => {
            cost.charge_bytes(key.len())?;
            let found = map.get(&KeyRef::String(key));
            found.cloned().ok_or(ExpressionError::NoComputedKey)
        }
        (Value::Map(map), Value::Int(key)) => {
            let found = map.get(&Key::Int(*key));
            found.cloned().ok_or(ExpressionError::NoComputedKey)
        }
        (of, at) => Err(no_overload("[…]", &[of.clone(), at.clone()])),
    }
}

fn calculate(
    operator: &str,
    left: Value,
    right: Value,
    cost: &mut Cost,
) -> Result<Value, ExpressionError> {
    match (&left, &right) {
        (Value::String(left), Value::String(right)) => {
            cost.charge_bytes(left.len().saturating_add(right.len()))?;
        }
        (Value::List(left), Value::List(right)) => cost.charge(left.len() + right.len())?,
        _ => {}
    }
    let operands = [left.clone(), right.clone()];
    let result = match operator {
        operators::ADD => left + right,
        operators::SUBSTRACT => left - right,
        operators::MULTIPLY => left * right,
        operators::DIVIDE => left / right,
        operators::MODULO => left % right,
        _ => return Err(no_overload(operator, &operands)),
    };
    result.map_err(|error| match error {
        cel::ExecutionError::Overflow(..) => {
            ExpressionError::Value(format!("`{operator}` gives a value that is too large"))
        }
        cel::ExecutionError::DivisionByZero(_) | cel::ExecutionError::RemainderByZero(_) => {
            ExpressionError::Value("something is divided by zero".to_owned())
        }
        _ => no_overload(operator, &operands),
    })
}

/// The number with the other sign.
pub fn negate(value: &Value) -> Result<Value, ExpressionError> {
    match value {
        Value::Int(number) => number.checked_neg().map(Value::Int).ok_or_else(|| {
            ExpressionError::Value("a number with the other sign is too large".to_owned())
        }),
        Value::Float(number) => Ok(Value::Float(-number)),
        other => Err(no_overload("-", std::slice::from_ref(other))),
    }
}
