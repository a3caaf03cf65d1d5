//! Evaluates the expression `where` of a target for one pod, within bounds: the expression is a stranger's.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use cel::{
    Context, Program, Value,
    common::ast::{EntryExpr, Expr, IdedExpr},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use thiserror::Error;

/// In bytes. The definition of the kind has the same bound.
const LONGEST: usize = 1024;

/// Brackets within brackets: the parser recurses for each.
const DEEPEST: usize = 32;

/// Loops within loops (`all`, `exists`, `filter`, `map`): the time that they take is a power of the lengths of lists, and a
/// pod may have thousands of labels.
const MOST_NESTED_LOOPS: usize = 1;

/// Calls of `matches`, each of which compiles a regular expression, for each pod.
const MOST_MATCHES: usize = 2;

/// How long an expression may take for all pods of one look. The loop that evaluates it renews the Lease.
const PATIENCE: Duration = Duration::from_millis(500);

/// Programs that are kept compiled; when there are more, all are compiled anew.
const MOST_PROGRAMS: usize = 512;

/// Why an expression is not evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpressionError {
    #[error(
        "it is {0} bytes long, and at most {LONGEST} are read; select by labels what labels can say"
    )]
    TooLong(usize),
    #[error("its brackets are nested more than {DEEPEST} deep; write it flatter")]
    TooDeep,
    #[error("loops such as `all` are nested more than {MOST_NESTED_LOOPS} deep; write it flatter")]
    TooManyLoops,
    #[error("`matches` is called in a loop; compare names by `==`, `in` or `startsWith` there")]
    RepeatedMatches,
    #[error("`matches` is called more than {MOST_MATCHES} times; join the patterns by `|`")]
    TooManyMatches,
    #[error("it makes an object of type `{0}`, which this language does not have; leave it out")]
    Object(String),
    #[error(
        "it took longer than {PATIENCE:?} for the pods that there are; write it simpler, or select by labels"
    )]
    TooSlow,
    #[error("the evaluator cannot do it; write it in another way")]
    Panicked,
    #[error("it cannot be read: {0}")]
    Syntax(String),
    #[error("`{0}` is not known; there are `pod` and `age`, such as `age > duration('5m')`")]
    Unknown(String),
    #[error("it gives a value of type {0}, and must give true or false")]
    NoBool(String),
    #[error("{0}")]
    Evaluation(String),
}

/// Expressions, each compiled once.
#[derive(Default)]
pub struct Expressions {
    programs: BTreeMap<String, Result<Program, ExpressionError>>,
    /// How long expressions took in the look of this moment.
    spent: BTreeMap<String, (Timestamp, Duration)>,
}

impl Expressions {
    /// Whether an expression can be read.
    pub fn check(&mut self, text: &str) -> Result<(), ExpressionError> {
        self.program(text).map(|_| ())
    }

    /// Whether it holds for a pod at a moment.
    pub fn holds(
        &mut self,
        text: &str,
        pod: &Pod,
        now: Timestamp,
    ) -> Result<bool, ExpressionError> {
        let begun = Instant::now();
        let held = self.evaluate(text, pod, now);
        let (look, spent) = self.spent.entry(text.to_owned()).or_insert((now, Duration::ZERO));
        if std::mem::replace(look, now) != now {
            *spent = Duration::ZERO;
        }
        *spent += begun.elapsed();
        if *spent > PATIENCE {
            // For good: it would take as long in the next look.
            self.programs.insert(text.to_owned(), Err(ExpressionError::TooSlow));
        }
        held
    }

    fn evaluate(&mut self, text: &str, pod: &Pod, now: Timestamp) -> Result<bool, ExpressionError> {
        let program = self.program(text)?;
        let failed = |error: &dyn std::fmt::Display| {
            let mut message = error.to_string();
            message.truncate(message.floor_char_boundary(120));
            ExpressionError::Evaluation(message)
        };
        let created = pod.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
        let age = now.duration_since(created).as_millis().try_into().unwrap_or(i64::MAX);
        let mut context = Context::default();
        let object = cel::to_value(pod).map_err(|error| failed(&error))?;
        context.add_variable_from_value("pod", object);
        let age = Value::Duration(chrono::Duration::milliseconds(age));
        context.add_variable_from_value("age", age);
        // Parts of the evaluator are not written yet, and panic.
        let value = catch_unwind(AssertUnwindSafe(|| program.execute(&context)));
        let value = value.map_err(|_| ExpressionError::Panicked)?;
        match value.map_err(|error| failed(&error))? {
            Value::Bool(holds) => Ok(holds),
            other => Err(ExpressionError::NoBool(other.type_of().to_string())),
        }
    }

    fn program(&mut self, text: &str) -> Result<&Program, ExpressionError> {
        if self.programs.len() >= MOST_PROGRAMS && !self.programs.contains_key(text) {
            self.programs.clear();
            self.spent.clear();
        }
        let entry = self.programs.entry(text.to_owned());
        entry.or_insert_with(|| compile(text)).as_ref().map_err(Clone::clone)
    }
}

fn compile(text: &str) -> Result<Program, ExpressionError> {
    if text.len() > LONGEST {
        return Err(ExpressionError::TooLong(text.len()));
    }
    if depth(text) > DEEPEST {
        return Err(ExpressionError::TooDeep);
    }
    let program = Program::compile(text)
        .map_err(|errors| ExpressionError::Syntax(errors.to_string().trim().to_owned()))?;
    let mut bound = BTreeSet::from(["pod", "age"]);
    if loops(program.expression(), &mut bound) > MOST_NESTED_LOOPS {
        return Err(ExpressionError::TooManyLoops);
    }
    check_calls(program.expression(), false, &mut 0)?;
    let references = program.references();
    let unknown = references.variables().into_iter().find(|name| !bound.contains(name));
    if let Some(name) = unknown {
        return Err(ExpressionError::Unknown(name.to_owned()));
    }
    Ok(program)
}

/// How deep brackets are nested; those in strings count, too.
fn depth(text: &str) -> usize {
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

/// How deep loops are nested; adds the names that they bind.
fn loops<'e>(expression: &'e IdedExpr, bound: &mut BTreeSet<&'e str>) -> usize {
    if let Expr::Comprehension(each) = &expression.expr {
        bound.extend([each.iter_var.as_str(), each.accu_var.as_str()]);
        bound.extend(each.iter_var2.as_deref());
    }
    let Parts { once, again } = Parts::of(expression);
    let mut deepest = 0;
    for (parts, more) in [(once, 0), (again, 1)] {
        deepest = parts.into_iter().map(|part| loops(part, bound) + more).fold(deepest, usize::max);
    }
    deepest
}

/// Refuses what takes long, and what the evaluator does not have. `matches` counts calls of that.
fn check_calls(
    expression: &IdedExpr,
    is_repeated: bool,
    matches: &mut usize,
) -> Result<(), ExpressionError> {
    match &expression.expr {
        Expr::Struct(one) => return Err(ExpressionError::Object(one.type_name.clone())),
        Expr::Call(call) if call.func_name == "matches" => {
            *matches += 1;
            if is_repeated {
                return Err(ExpressionError::RepeatedMatches);
            }
            if *matches > MOST_MATCHES {
                return Err(ExpressionError::TooManyMatches);
            }
        }
        Expr::Call(_)
        | Expr::Comprehension(_)
        | Expr::Ident(_)
        | Expr::List(_)
        | Expr::Literal(_)
        | Expr::Map(_)
        | Expr::Select(_)
        | Expr::Unspecified => {}
    }
    let Parts { once, again } = Parts::of(expression);
    again.into_iter().try_for_each(|part| check_calls(part, true, matches))?;
    once.into_iter().try_for_each(|part| check_calls(part, is_repeated, matches))
}

/// The parts of an expression.
struct Parts<'e> {
    once: Vec<&'e IdedExpr>,
    /// Those that are evaluated for each element of a list.
    again: Vec<&'e IdedExpr>,
}

impl<'e> Parts<'e> {
    fn of(expression: &'e IdedExpr) -> Self {
        let mut again = Vec::new();
        let once = match &expression.expr {
            Expr::Comprehension(each) => {
                again = vec![&each.loop_cond, &each.loop_step];
                vec![&each.iter_range, &each.accu_init, &each.result]
            }
            Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
            Expr::List(list) => list.elements.iter().collect(),
            Expr::Select(select) => vec![&*select.operand],
            Expr::Map(map) => map.entries.iter().flat_map(|entry| parts(&entry.expr)).collect(),
            Expr::Struct(one) => one.entries.iter().flat_map(|entry| parts(&entry.expr)).collect(),
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        };
        Self { once, again }
    }
}

fn parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "web-0", "labels": { "app": "web" },
                          "creationTimestamp": "2026-11-28T10:00:00Z" },
            "spec": { "nodeName": "node-a", "containers": [{ "name": "main" }, { "name": "side" }] },
            "status": { "phase": "Running" },
        }))
        .unwrap()
    }

    fn holds(text: &str) -> Result<bool, ExpressionError> {
        Expressions::default().holds(text, &pod(), "2026-11-28T10:10:00Z".parse().unwrap())
    }

    #[test]
    fn expressions_see_the_pod_and_its_age() {
        for (text, expected) in [
            ("pod.metadata.name.startsWith('web-')", true),
            ("age > duration('5m') && age < duration('11m')", true),
            ("age > duration('1h')", false),
            ("pod.metadata.labels.app in ['web', 'db']", true),
            ("pod.spec.containers.exists(c, c.name == 'side')", true),
            ("pod.metadata.name.matches('^db-[0-9]+$')", false),
            ("has(pod.metadata.annotations)", false),
        ] {
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_decided_is_told() {
        for (text, expected) in [
            ("pod.metadata.name", "must give true or false"),
            ("pods.metadata.name == ''", "`pods` is not known"),
            ("pod.metadata.name ==", "cannot be read"),
            ("pod.metadata.annotations.team == 'blue'", "No such key"),
        ] {
            let error = holds(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn bombs_are_refused_before_they_are_evaluated() {
        let list = "pod.spec.containers";
        let nested = format!("{list}.all(a, {list}.exists(b, a.name != b.name))");
        assert_eq!(holds(&nested), Err(ExpressionError::TooManyLoops));
        let beside = format!("{list}.all(a, a.name != '') && {list}.exists(b, b.name == 'side')");
        assert_eq!(holds(&beside), Ok(true));
        let repeated = format!("{list}.all(a, !'x'.matches('(\\\\w{{10}}){{2}}'))");
        assert_eq!(holds(&repeated), Err(ExpressionError::RepeatedMatches));
        let many = ["'x'.matches('x')"; 3].join(" && ");
        assert_eq!(holds(&many), Err(ExpressionError::TooManyMatches));
        for object in ["Foo{a: 1} == Foo{a: 1}", "pod.metadata.name == 'x' ? Foo{} == 1 : true"] {
            assert_eq!(holds(object), Err(ExpressionError::Object("Foo".to_owned())), "{object}");
        }
        // In builds that check for overflow the evaluator panics.
        let overflow = holds("-(-9223372036854775807 - 1) > 0");
        assert!(overflow.is_ok() || overflow == Err(ExpressionError::Panicked), "{overflow:?}");
        assert_eq!(holds(&"(".repeat(1000)), Err(ExpressionError::TooDeep));
        assert_eq!(holds(&"!".repeat(1000)), Err(ExpressionError::TooDeep));
        assert_eq!(holds(&"true?".repeat(200)), Err(ExpressionError::TooDeep));
        assert_eq!(holds(&" ".repeat(1025)), Err(ExpressionError::TooLong(1025)));
    }

    #[test]
    fn what_takes_long_is_not_evaluated_again() {
        let mut expressions = Expressions::default();
        let now: Timestamp = "2026-11-28T10:10:00Z".parse().unwrap();
        assert_eq!(expressions.holds("true", &pod(), now), Ok(true));
        expressions.spent.insert("true".to_owned(), (now, PATIENCE));
        assert_eq!(expressions.holds("true", &pod(), now), Ok(true));
        assert_eq!(expressions.holds("true", &pod(), now), Err(ExpressionError::TooSlow));
        assert_eq!(expressions.check("true"), Err(ExpressionError::TooSlow));
    }

    #[test]
    fn many_programs_do_not_pile_up() {
        let mut expressions = Expressions::default();
        for number in 0..MOST_PROGRAMS + 3 {
            assert_eq!(expressions.check(&format!("age > duration('{number}s')")), Ok(()));
        }
        assert_eq!(expressions.programs.len(), 3);
    }
}
