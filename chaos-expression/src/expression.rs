//! Compiles an expression once, for it to be evaluated often.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::{Program, common::ast::IdedExpr};

use crate::{
    ExpressionError, Variables,
    evaluate::Evaluation,
    kind::Kind,
    walk::{DEEPEST, Walk, depth},
};

/// In bytes. The definitions of the kinds have the same bound.
pub const LONGEST: usize = 1024;

/// An expression that was checked. It is true or false, or an error, and does not change anything.
#[derive(Debug, Clone)]
pub struct Expression {
    tree: IdedExpr,
    used: Vec<String>,
    members: Vec<Vec<String>>,
}

impl Expression {
    /// Reads an expression over these variables.
    ///
    /// # Errors
    /// When it cannot be read, costs too much, has what this language does not have, or gives anything but true or false.
    pub fn compile(text: &str, known: &[&str]) -> Result<Self, ExpressionError> {
        if text.len() > LONGEST {
            return Err(ExpressionError::TooLong(text.len()));
        }
        if depth(text) > DEEPEST {
            return Err(ExpressionError::TooDeep);
        }
        // Parts of the parser are not written yet, and panic.
        let read =
            catch_unwind(|| Program::compile(text)).map_err(|_| ExpressionError::Panicked)?;
        let program =
            read.map_err(|errors| ExpressionError::Syntax(errors.to_string().trim().to_owned()))?;
        let mut tree = program.expression().clone();
        let mut walk = Walk::with(known);
        walk.check(&mut tree)?;
        match Kind::before(&tree) {
            None | Some(Kind::Bool) => Ok(Self { tree, used: walk.used, members: walk.members }),
            Some(kind) => Err(ExpressionError::NoBool(kind.name())),
        }
    }

    /// Whether its value depends on this variable.
    pub fn uses(&self, name: &str) -> bool {
        self.used.iter().any(|used| used == name)
    }

    /// What it asks for inside of variables, such as `pod`, `metadata`, `name` for `pod.metadata.name`, and the ways to it.
    pub fn members(&self) -> &[Vec<String>] {
        &self.members
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// When it has no value: a key is missing, types do not go together, a number is too large, it costs too much.
    pub fn holds(&self, variables: &Variables) -> Result<bool, ExpressionError> {
        // Numbers and times are calculated by a library.
        let evaluate = || Evaluation::with(variables).value(&self.tree);
        let value =
            catch_unwind(AssertUnwindSafe(evaluate)).map_err(|_| ExpressionError::Panicked)??;
        match value {
            cel::Value::Bool(holds) => Ok(holds),
            other => Err(ExpressionError::NoBool(Kind::of(&other).map_or("unknown", Kind::name))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(text: &str) -> Result<bool, ExpressionError> {
        let pod = json!({ "name": "web-0", "spec": { "containers": [{ "name": "main" }, { "name": "side" }] } });
        let variables = Variables::default().json("pod", &pod).double("value", 0.5);
        Expression::compile(text, &["pod", "value"])?.holds(&variables)
    }

    #[test]
    fn bombs_are_refused_before_they_are_evaluated() {
        let list = "pod.spec.containers";
        let nested = format!("{list}.all(a, {list}.exists(b, a.name != b.name))");
        assert_eq!(holds(&nested), Err(ExpressionError::TooManyLoops));
        let beside = format!("{list}.all(a, a.name != '') && {list}.exists(b, b.name == 'side')");
        assert_eq!(holds(&beside), Ok(true));
        let repeated = format!("{list}.all(a, !'x'.matches('([a-z]{{10}}){{2}}'))");
        assert_eq!(holds(&repeated), Err(ExpressionError::RepeatedMatches));
        let many = ["'x'.matches('x')"; 3].join(" && ");
        assert_eq!(holds(&many), Err(ExpressionError::TooManyMatches));
        for object in ["Foo{a: 1} == Foo{a: 1}", "pod.name == 'x' ? Foo{} == 1 : true"] {
            assert_eq!(holds(object), Err(ExpressionError::Object("Foo".to_owned())), "{object}");
        }
        let overflow = holds("-(-9223372036854775807 - 1) > 0").unwrap_err().to_string();
        assert!(overflow.contains("too large"), "{overflow}");
        assert_eq!(holds(&"(".repeat(1000)), Err(ExpressionError::TooDeep));
        assert_eq!(holds(&"!".repeat(1000)), Err(ExpressionError::TooDeep));
        assert_eq!(holds(&"true?".repeat(200)), Err(ExpressionError::TooDeep));
        assert_eq!(holds(&" ".repeat(1025)), Err(ExpressionError::TooLong(1025)));
    }

    #[test]
    fn what_costs_too_much_is_an_error() {
        let long = "x".repeat(1 << 20);
        let many = json!(vec![1; 100_000]);
        let variables = Variables::default().string("body", &long).json("items", &many);
        let names = ["body", "items", "latency", "now"];
        let holds = |text: &str| Expression::compile(text, &names)?.holds(&variables);
        let grown = format!("({}) == ''", ["body"; 100].join(" + "));
        assert_eq!(holds(&grown), Err(ExpressionError::TooExpensive));
        assert_eq!(holds("items.all(i, items == items)"), Err(ExpressionError::TooExpensive));
        assert_eq!(holds("items.map(i, body + body) == []"), Err(ExpressionError::TooExpensive));
        for often in [
            "items.all(i, size(body) > 1)",
            "items.all(i, body < body + 'x')",
            "items.all(i, !body.endsWith(body + 'x') && body.startsWith(body))",
            "items.all(i, double(body) > 1.0)",
            "items.all(i, int(body) > 1)",
            "items.all(i, duration(body) > latency)",
            "items.all(i, timestamp(body) == now)",
            "items.all(i, !(body in {'x': 1}))",
            "items.all(i, {'x': 1}[body] == 1)",
            "items.all(i, {body: 1}.size() == 1)",
            "[body, body, body, body].map(i, [i, i, i, i, i, i, i].max()) == []",
            "body.matches('(x|xx|xxx){200}y')",
        ] {
            assert_eq!(holds(often), Err(ExpressionError::TooExpensive), "{often}");
        }
        assert_eq!(holds("items.all(i, i == 1)"), Ok(true));
        assert_eq!(holds("body.contains('y')"), Ok(false));
        assert_eq!(holds("body.matches('^x+y$')"), Ok(false));
    }

    #[test]
    fn errors_tell_nothing_of_the_values() {
        let json = json!({ "word": "swordfish", "number": 4711, "large": 4711e200, "list": [1] });
        for text in [
            "int(json.word) == 1",
            "double(json.word) == 1.0",
            "duration(json.word) == duration('1s')",
            "timestamp(json.word) == timestamp('2026-11-28T10:00:00Z')",
            "{'a': 1}[json.word] == 1",
            "{1: 1}[json.number] == 1",
            "json.list[json.number] == 1",
            "int(json.large) == 1",
            "-json.word == 'a'",
            "json.word + json.number == 'a'",
            "json.word",
            "json[json.word]",
        ] {
            let variables = Variables::default().json("json", &json);
            let error =
                Expression::compile(text, &["json"]).unwrap().holds(&variables).unwrap_err();
            let error = error.to_string();
            assert!(!error.contains("swordfish") && !error.contains("4711"), "{text}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_decided_is_told() {
        for (text, expected) in [
            ("pod.name", "`a condition`|must give true or false"),
            ("value", "must give true or false"),
            ("1", "must give true or false"),
            ("pods.name == ''", "`pods` is not known; there are `pod`, `value`"),
            ("pod.name ==", "cannot be read"),
            ("pod.team == 'blue'", "no such key: team; ask `has(…)`"),
            ("pod.name.first == 'w'", "`[…]` does not go with string and string"),
            ("string(value) == '1'", "`string(…)` is not known here; there are size(…), "),
            ("pod.name.matches(pod.name)", "needs a pattern that is written in quotes"),
            ("pod.name.matches('(')", "the pattern `(` cannot be used: unclosed group"),
            ("size(pod.name) == 1.0", "a comparison of int and double cannot be"),
            ("value in [1, 2.0]", "a list of int and double cannot be"),
            ("value + 1 > 1.0", "`_+_` does not go with double and int"),
        ] {
            let error = holds(text).unwrap_err().to_string();
            assert!(
                expected.split('|').any(|expected| error.contains(expected)),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn what_it_uses_is_known() {
        let expression =
            Expression::compile("[1].all(i, i < value)", &["value", "baseline"]).unwrap();
        assert!(expression.uses("value") && !expression.uses("baseline") && !expression.uses("i"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_a_panic(text in "[a-z0-9 .,()\\[\\]'<>=!&|?:+*/%-]{0,60}") {
            let variables = Variables::default().double("value", 0.5);
            let _outcome = Expression::compile(&text, &["value"]).map(|one| one.holds(&variables));
        }
    }
}
