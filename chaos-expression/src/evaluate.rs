//! Evaluates an expression that was checked.

use std::sync::Arc;

use cel::{
    Value,
    common::ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators,
    },
    objects::Key,
};

use crate::{
    ExpressionError, Variables,
    cost::Cost,
    functions::{self, MATH, no_overload},
    operators::{index, length, negate, operate},
};

/// One evaluation: the values of variables, and those that loops bind.
pub struct Evaluation<'v> {
    variables: &'v Variables,
    bound: Vec<(String, Value)>,
    cost: Cost,
}

impl<'v> Evaluation<'v> {
    pub fn with(variables: &'v Variables) -> Self {
        Self { variables, bound: Vec::new(), cost: Cost::new() }
    }

    /// The value of a part.
    pub fn value(&mut self, part: &IdedExpr) -> Result<Value, ExpressionError> {
        self.cost.charge(1)?;
        match &part.expr {
            Expr::Literal(literal) => {
                if let LiteralValue::String(text) = literal {
                    self.cost.charge_bytes(text.inner().len())?;
                }
                Value::try_from(literal.to_val().as_ref())
                    .map_err(|error| ExpressionError::Value(error.to_string()))
            }
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => {
                let of = self.value(&select.operand)?;
                let key = Value::String(Arc::new(select.field.clone()));
                match (index(&of, &key, &mut self.cost), select.test) {
                    (Err(ExpressionError::TooExpensive), _) => Err(ExpressionError::TooExpensive),
                    (Err(ExpressionError::NoComputedKey), false) => {
                        Err(ExpressionError::NoKey(select.field.clone()))
                    }
                    (found, false) => found,
                    (found, true) => Ok(Value::Bool(found.is_ok())),
                }
            }
            Expr::List(list) => {
                let values = list.elements.iter().map(|element| self.value(element));
                Ok(Value::List(Arc::new(values.collect::<Result<_, _>>()?)))
            }
            Expr::Map(map) => {
                let mut fields = std::collections::HashMap::new();
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        return Err(ExpressionError::Object("map".to_owned()));
                    };
                    let key: Key = self
                        .value(&entry.key)?
                        .try_into()
                        .map_err(|key| no_overload("{…: …}", &[key]))?;
                    self.cost.charge_bytes(length(&key))?;
                    let value = self.value(&entry.value)?;
                    if fields.insert(key, value).is_some() {
                        return Err(ExpressionError::Value("a map has a key twice".to_owned()));
                    }
                }
                Ok(Value::from(fields))
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(each) => self.each(each),
            Expr::Struct(one) => Err(ExpressionError::Object(one.type_name.clone())),
            Expr::Unspecified => Err(ExpressionError::Panicked),
        }
    }

    fn variable(&mut self, name: &str) -> Result<Value, ExpressionError> {
        self.cost.charge_bytes(name.len())?;
        let bound = self.bound.iter().rev().find(|(bound, _)| bound == name);
        let value = bound.map(|(_, value)| value).or_else(|| self.variables.get(name));
        value.cloned().ok_or_else(|| ExpressionError::Value(format!("`{name}` has no value now")))
    }

    fn call(&mut self, call: &CallExpr) -> Result<Value, ExpressionError> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                if self.truth(condition)? {
                    self.value(then)
                } else {
                    self.value(otherwise)
                }
            }
            (operators::LOGICAL_AND, [left, right]) => self.decided_by(false, left, right),
            (operators::LOGICAL_OR, [left, right]) => self.decided_by(true, left, right),
            (operators::LOGICAL_NOT, [of]) => self.truth(of).map(|truth| Value::Bool(!truth)),
            (operators::NEGATE, [of]) => negate(&self.value(of)?),
            (name, args) => {
                let before = match &call.target {
                    Some(target) if !is_math(target, name) => Some(self.value(target)?),
                    Some(_) | None => None,
                };
                let mut values = Vec::from_iter(before);
                for arg in args {
                    values.push(self.value(arg)?);
                }
                match <[Value; 2]>::try_from(values) {
                    Ok([left, right]) if call.target.is_none() => {
                        let value = operate(name, left, right, &mut self.cost);
                        value.map_err(|error| with_key(error, args))
                    }
                    Ok(values) => functions::call(name, &values, &mut self.cost),
                    Err(values) => functions::call(name, &values, &mut self.cost),
                }
            }
        }
    }

    /// Whether a condition holds.
    pub fn truth(&mut self, part: &IdedExpr) -> Result<bool, ExpressionError> {
        match self.value(part)? {
            Value::Bool(truth) => Ok(truth),
            other => Err(no_overload("a condition", &[other])),
        }
    }

    /// `&&` and `||`: where one side decides, an error of the other does not matter.
    fn decided_by(
        &mut self,
        decisive: bool,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Value, ExpressionError> {
        let left = self.truth(left);
        if left == Ok(decisive) {
            return Ok(Value::Bool(decisive));
        }
        let right = self.truth(right);
        if right == Ok(decisive) {
            return Ok(Value::Bool(decisive));
        }
        left?;
        right.map(Value::Bool)
    }

    /// A loop. The parser makes no others than these of `all`, `exists`, `exists_one`, `filter` and `map`.
    fn each(&mut self, each: &ComprehensionExpr) -> Result<Value, ExpressionError> {
        let items = match self.value(&each.iter_range)? {
            Value::List(list) => {
                self.cost.charge(list.len())?;
                list.to_vec()
            }
            Value::Map(map) => {
                self.cost.charge(map.map.len())?;
                self.cost.charge_bytes(map.map.keys().map(length).sum())?;
                map.map.keys().map(Value::from).collect()
            }
            other => return Err(no_overload("a loop", &[other])),
        };
        let Expr::Call(step) = &each.loop_step.expr else { return Err(ExpressionError::Panicked) };
        match (step.func_name.as_str(), step.args.as_slice(), &each.accu_init.expr) {
            (operators::LOGICAL_AND, [_, predicate], _) => {
                self.first(false, each, predicate, items)
            }
            (operators::LOGICAL_OR, [_, predicate], _) => self.first(true, each, predicate, items),
            (operators::CONDITIONAL, [predicate, _, _], Expr::Literal(_)) => {
                let mut count = 0;
                for item in items {
                    count += usize::from(self.bind(each, item, |own| own.truth(predicate))?);
                }
                Ok(Value::Bool(count == 1))
            }
            (operators::CONDITIONAL, [predicate, made, _], _) => {
                self.list(each, Some(predicate), element(made)?, items)
            }
            (operators::ADD, _, _) => self.list(each, None, element(&each.loop_step)?, items),
            _ => Err(ExpressionError::Panicked),
        }
    }

    /// `exists` and `all`: the first item that decides. An error matters only if none does.
    fn first(
        &mut self,
        decisive: bool,
        each: &ComprehensionExpr,
        predicate: &IdedExpr,
        items: Vec<Value>,
    ) -> Result<Value, ExpressionError> {
        let mut result = Ok(Value::Bool(!decisive));
        for item in items {
            match self.bind(each, item, |own| own.truth(predicate)) {
                Ok(truth) if truth == decisive => return Ok(Value::Bool(decisive)),
                Ok(_) => {}
                // No other item can be worth more.
                Err(ExpressionError::TooExpensive) => return Err(ExpressionError::TooExpensive),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    fn list(
        &mut self,
        each: &ComprehensionExpr,
        predicate: Option<&IdedExpr>,
        element: &IdedExpr,
        items: Vec<Value>,
    ) -> Result<Value, ExpressionError> {
        let mut made = Vec::new();
        for item in items {
            let value = self.bind(each, item, |own| {
                let is_taken = predicate.map_or(Ok(true), |predicate| own.truth(predicate))?;
                is_taken.then(|| own.value(element)).transpose()
            })?;
            made.extend(value);
        }
        Ok(Value::List(Arc::new(made)))
    }

    fn bind<T>(
        &mut self,
        each: &ComprehensionExpr,
        item: Value,
        evaluate: impl FnOnce(&mut Self) -> Result<T, ExpressionError>,
    ) -> Result<T, ExpressionError> {
        self.bound.push((each.iter_var.clone(), item));
        let result = evaluate(self);
        self.bound.pop();
        result
    }
}

/// Whether what is before the dot is the name `math`, and no value.
pub fn is_math(target: &IdedExpr, function: &str) -> bool {
    matches!(&target.expr, Expr::Ident(name) if name == MATH) && functions::is_of_math(function)
}

/// Names the key that is missing where it is written in the expression.
fn with_key(error: ExpressionError, args: &[IdedExpr]) -> ExpressionError {
    let written = match args.last().map(|key| &key.expr) {
        Some(Expr::Literal(LiteralValue::String(text))) => text.inner().to_owned(),
        Some(Expr::Literal(LiteralValue::Int(number))) => number.inner().to_string(),
        Some(_) | None => return error,
    };
    match error {
        ExpressionError::NoComputedKey => ExpressionError::NoKey(written),
        other => other,
    }
}

/// What a loop adds to its list.
fn element(step: &IdedExpr) -> Result<&IdedExpr, ExpressionError> {
    if let Expr::Call(add) = &step.expr
        && let [_, list] = add.args.as_slice()
        && let Expr::List(list) = &list.expr
        && let [element] = list.elements.as_slice()
    {
        return Ok(element);
    }
    Err(ExpressionError::Panicked)
}
