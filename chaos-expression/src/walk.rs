//! Checks an expression before it is evaluated: what costs much, what this language does not have, and what the API server
//! would refuse by its types.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use crate::{
    ExpressionError,
    evaluate::is_math,
    functions::{Form, all_written, is_known},
    kind::Kind,
    pattern,
};

/// Brackets within brackets: the parser recurses for each.
pub const DEEPEST: usize = 32;

/// Loops within loops (`all`, `exists`, `filter`, `map`): the time that they take is a power of the lengths of lists.
pub const MOST_NESTED_LOOPS: usize = 1;

/// Calls of `matches`, each of which compiles a regular expression.
pub const MOST_MATCHES: usize = 2;

/// How deep brackets are nested; those in strings count, too.
pub fn depth(text: &str) -> usize {
    let (mut deepest, mut open) = (0_usize, 0_usize);
    for character in text.chars() {
        match character {
            // Signs before a value and the parts of a choice are levels for the parser, too.
            '(' | '[' | '{' | '!' | '-' | '?' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

/// A walk through an expression.
pub struct Walk<'w> {
    /// The variables that there are.
    pub known: &'w [&'w str],
    /// Those that it uses.
    pub used: Vec<String>,
    /// What it asks for inside of them, by names that are written there.
    pub members: Vec<Vec<String>>,
    bound: Vec<String>,
    matches: usize,
}

impl<'w> Walk<'w> {
    pub fn with(known: &'w [&'w str]) -> Self {
        Self { known, used: Vec::new(), members: Vec::new(), bound: Vec::new(), matches: 0 }
    }

    /// The names by which a part is reached from a variable, if it is.
    fn path(&self, part: &IdedExpr) -> Option<Vec<String>> {
        let (of, name) = match &part.expr {
            Expr::Ident(name) if !self.bound.contains(name) => return Some(vec![name.clone()]),
            Expr::Select(select) => (select.operand.as_ref(), select.field.clone()),
            Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
                [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] => {
                    (of, name.inner().to_owned())
                }
                _ => return None,
            },
            Expr::Unspecified
            | Expr::Call(_)
            | Expr::Comprehension(_)
            | Expr::Ident(_)
            | Expr::List(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Struct(_) => return None,
        };
        let mut path = self.path(of)?;
        path.push(name);
        Some(path)
    }

    /// Checks a part and all of its parts; translates the patterns in it.
    pub fn check(&mut self, part: &mut IdedExpr) -> Result<(), ExpressionError> {
        let path = self.path(part).filter(|path| path.len() > 1);
        self.members.extend(path);
        match &mut part.expr {
            Expr::Unspecified => Err(ExpressionError::Panicked),
            Expr::Literal(LiteralValue::UInt(_)) => Err(ExpressionError::Literal("1u")),
            Expr::Literal(LiteralValue::Bytes(_)) => Err(ExpressionError::Literal("b'…'")),
            Expr::Literal(
                LiteralValue::Boolean(_)
                | LiteralValue::Double(_)
                | LiteralValue::Int(_)
                | LiteralValue::Null
                | LiteralValue::String(_),
            ) => Ok(()),
            Expr::Ident(name) => self.check_name(name),
            Expr::Select(select) => self.check(&mut select.operand),
            Expr::Struct(one) => Err(ExpressionError::Object(one.type_name.clone())),
            Expr::List(list) => {
                list.elements.iter_mut().try_for_each(|element| self.check(element))?;
                same("a list", list.elements.iter())
            }
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    let EntryExpr::MapEntry(entry) = &mut entry.expr else {
                        return Err(ExpressionError::Object("map".to_owned()));
                    };
                    self.check(&mut entry.key)?;
                    self.check(&mut entry.value)?;
                }
                let entries = || {
                    map.entries.iter().filter_map(|entry| match &entry.expr {
                        EntryExpr::MapEntry(entry) => Some(entry),
                        EntryExpr::StructField(_) => None,
                    })
                };
                same("the keys", entries().map(|entry| &entry.key))?;
                same("the values", entries().map(|entry| &entry.value))
            }
            Expr::Call(call) => self.check_call(call),
            Expr::Comprehension(each) => {
                self.check(&mut each.iter_range)?;
                if self.bound.len() / 2 >= MOST_NESTED_LOOPS {
                    return Err(ExpressionError::TooManyLoops);
                }
                let outer = self.bound.len();
                self.bound.extend([each.iter_var.clone(), each.accu_var.clone()]);
                self.check(&mut each.loop_step)?;
                self.bound.truncate(outer);
                Ok(())
            }
        }
    }

    fn check_name(&mut self, name: &str) -> Result<(), ExpressionError> {
        if self.bound.iter().any(|bound| bound == name) {
            return Ok(());
        }
        if !self.known.contains(&name) {
            let known = self.known.iter().map(|known| format!("`{known}`"));
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(ExpressionError::Unknown { name: name.to_owned(), known });
        }
        if !self.used.iter().any(|used| used == name) {
            self.used.push(name.to_owned());
        }
        Ok(())
    }

    fn check_call(&mut self, call: &mut CallExpr) -> Result<(), ExpressionError> {
        let name = call.func_name.clone();
        let form = match &call.target {
            None => Form::Global,
            Some(target) if is_math(target, &name) => Form::Math,
            Some(_) => Form::Method,
        };
        let is_operator = call.target.is_none() && is_operator(&name, call.args.len());
        if !is_operator && !is_known(&name, form, call.args.len()) {
            let written = match form {
                Form::Global => format!("{name}(…)"),
                Form::Method => format!(".{name}(…)"),
                Form::Math => format!("math.{name}(…)"),
            };
            return Err(ExpressionError::Function { written, known: all_written() });
        }
        if form == Form::Method && name == "matches" {
            self.check_pattern(&mut call.args)?;
        }
        if form == Form::Method
            && let Some(target) = &mut call.target
        {
            self.check(target)?;
        }
        call.args.iter_mut().try_for_each(|arg| self.check(arg))?;
        match (name.as_str(), call.args.as_slice()) {
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
                same("a comparison", [left, right].into_iter())
            }
            (operators::CONDITIONAL, [_, then, otherwise]) => {
                same("a choice", [then, otherwise].into_iter())
            }
            (operators::IN, [value, list]) => match &list.expr {
                Expr::List(list) => same("a comparison", list.elements.iter().chain([value])),
                Expr::Unspecified
                | Expr::Call(_)
                | Expr::Comprehension(_)
                | Expr::Ident(_)
                | Expr::Literal(_)
                | Expr::Map(_)
                | Expr::Select(_)
                | Expr::Struct(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn check_pattern(&mut self, args: &mut [IdedExpr]) -> Result<(), ExpressionError> {
        self.matches += 1;
        if !self.bound.is_empty() {
            return Err(ExpressionError::RepeatedMatches);
        }
        if self.matches > MOST_MATCHES {
            return Err(ExpressionError::TooManyMatches);
        }
        let [pattern] = args else { return Err(ExpressionError::ComputedPattern) };
        let Expr::Literal(LiteralValue::String(text)) = &pattern.expr else {
            return Err(ExpressionError::ComputedPattern);
        };
        let translated = pattern::translate(text.inner())?;
        pattern.expr = Expr::Literal(LiteralValue::String(translated.into()));
        Ok(())
    }
}

/// Whether this is written with signs, or comes of what is.
fn is_operator(name: &str, count: usize) -> bool {
    match count {
        1 => [operators::LOGICAL_NOT, operators::NEGATE].contains(&name),
        2 => [
            operators::LOGICAL_AND,
            operators::LOGICAL_OR,
            operators::SUBSTRACT,
            operators::ADD,
            operators::MULTIPLY,
            operators::DIVIDE,
            operators::MODULO,
            operators::EQUALS,
            operators::NOT_EQUALS,
            operators::GREATER_EQUALS,
            operators::LESS_EQUALS,
            operators::GREATER,
            operators::LESS,
            operators::INDEX,
            operators::IN,
        ]
        .contains(&name),
        3 => name == operators::CONDITIONAL,
        _ => false,
    }
}

/// Refuses parts whose types are known to differ: the API server does, too.
fn same<'e>(
    what: &'static str,
    parts: impl Iterator<Item = &'e IdedExpr>,
) -> Result<(), ExpressionError> {
    let mut first: Option<Kind> = None;
    for kind in parts.filter_map(Kind::before) {
        match first {
            Some(first) if first != kind => {
                let (left, right) = (first.name(), kind.name());
                return Err(ExpressionError::Mixed { what, left, right });
            }
            Some(_) | None => first = Some(kind),
        }
    }
    Ok(())
}
