//! Evaluates the expression `where` of a target for one pod, within the time that all pods of one look may take together.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chaos_expression::{Expression, Variables};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use thiserror::Error;

/// What an expression can use.
const VARIABLES: [&str; 2] = ["pod", "age"];

/// How long an expression may take for all pods of one look. The loop that evaluates it renews the Lease.
const PATIENCE: Duration = Duration::from_millis(500);

/// Programs that are kept compiled; when there are more, all are compiled anew.
const MOST_PROGRAMS: usize = 512;

/// Why an expression is not evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpressionError {
    #[error(transparent)]
    Expression(#[from] chaos_expression::ExpressionError),
    #[error(
        "it took longer than {PATIENCE:?} for the pods that there are; write it simpler, or select by labels"
    )]
    TooSlow,
    #[error("the pod cannot be read: {0}")]
    Pod(String),
}

/// Expressions, each compiled once.
#[derive(Default)]
pub struct Expressions {
    programs: BTreeMap<String, Result<Expression, ExpressionError>>,
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
        let created = pod.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
        // A pod of the future, by this machine's clock, is new.
        let age = Duration::try_from(now.duration_since(created)).unwrap_or_default();
        let object =
            serde_json::to_value(pod).map_err(|error| ExpressionError::Pod(error.to_string()))?;
        let variables = Variables::default().json("pod", &object).duration("age", age);
        Ok(program.holds(&variables)?)
    }

    fn program(&mut self, text: &str) -> Result<&Expression, ExpressionError> {
        if self.programs.len() >= MOST_PROGRAMS && !self.programs.contains_key(text) {
            self.programs.clear();
            self.spent.clear();
        }
        let entry = self.programs.entry(text.to_owned());
        let compile = || Ok(Expression::compile(text, &VARIABLES)?);
        entry.or_insert_with(compile).as_ref().map_err(Clone::clone)
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
            ("pod.metadata.annotations.team == 'blue'", "no such key"),
        ] {
            let error = holds(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn bombs_are_refused_before_they_are_evaluated() {
        use chaos_expression::ExpressionError::{TooDeep, TooLong, TooManyLoops};
        let list = "pod.spec.containers";
        let nested = format!("{list}.all(a, {list}.exists(b, a.name != b.name))");
        assert_eq!(holds(&nested), Err(TooManyLoops.into()));
        let beside = format!("{list}.all(a, a.name != '') && {list}.exists(b, b.name == 'side')");
        assert_eq!(holds(&beside), Ok(true));
        assert_eq!(holds(&"(".repeat(1000)), Err(TooDeep.into()));
        assert_eq!(holds(&" ".repeat(1025)), Err(TooLong(1025).into()));
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
