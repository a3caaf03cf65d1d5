//! Says of which type a part of an expression is, where that is known before it is evaluated.

use cel::{
    Value,
    common::ast::{Expr, IdedExpr, LiteralValue, operators},
};

/// The types of values. Those of variables are not known before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Double,
    String,
    Null,
    List,
    Map,
    Duration,
    Timestamp,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::String => "string",
            Self::Null => "null",
            Self::List => "list",
            Self::Map => "map",
            Self::Duration => "duration",
            Self::Timestamp => "timestamp",
        }
    }

    /// The type of a value; nothing for those that this language does not have.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(_) => Some(Self::Bool),
            Value::Int(_) => Some(Self::Int),
            Value::Float(_) => Some(Self::Double),
            Value::String(_) => Some(Self::String),
            Value::Null => Some(Self::Null),
            Value::List(_) => Some(Self::List),
            Value::Map(_) => Some(Self::Map),
            Value::Duration(_) => Some(Self::Duration),
            Value::Timestamp(_) => Some(Self::Timestamp),
            Value::UInt(_) | Value::Bytes(_) | Value::Function(..) | Value::Opaque(_) => None,
        }
    }

    /// The type of a part, where it does not depend on variables.
    pub fn before(part: &IdedExpr) -> Option<Self> {
        match &part.expr {
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Some(Self::Bool),
                LiteralValue::Int(_) => Some(Self::Int),
                LiteralValue::Double(_) => Some(Self::Double),
                LiteralValue::String(_) => Some(Self::String),
                // Whatever can be null is of any type.
                LiteralValue::Null | LiteralValue::Bytes(_) | LiteralValue::UInt(_) => None,
            },
            Expr::List(_) => Some(Self::List),
            Expr::Map(_) => Some(Self::Map),
            Expr::Select(select) if select.test => Some(Self::Bool),
            Expr::Call(call) => match call.func_name.as_str() {
                operators::LOGICAL_AND
                | operators::LOGICAL_OR
                | operators::LOGICAL_NOT
                | operators::EQUALS
                | operators::NOT_EQUALS
                | operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS
                | operators::IN
                | "startsWith"
                | "endsWith"
                | "contains"
                | "matches" => Some(Self::Bool),
                operators::NEGATE => call.args.first().and_then(Self::before),
                operators::CONDITIONAL => {
                    let branch = |number: usize| call.args.get(number).and_then(Self::before);
                    branch(1).filter(|kind| branch(2) == Some(*kind))
                }
                operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO => {
                    let side = |number: usize| call.args.get(number).and_then(Self::before);
                    side(0).filter(|kind| {
                        side(1) == Some(*kind)
                            && matches!(kind, Self::Int | Self::Double | Self::String)
                    })
                }
                "size" | "int" => Some(Self::Int),
                "double" => Some(Self::Double),
                "duration" => Some(Self::Duration),
                "timestamp" => Some(Self::Timestamp),
                _ => None,
            },
            Expr::Comprehension(_)
            | Expr::Ident(_)
            | Expr::Select(_)
            | Expr::Struct(_)
            | Expr::Unspecified => None,
        }
    }
}
