//! Judges an answer by what is expected of it.

use chaos_api::kinds::Probe;
use chaos_expression::{Expression, ExpressionError, Variables};
use jiff::Timestamp;

use crate::{Outcome, Sample, question::Question};

/// What must hold.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// Nothing where the kind of the objects says it.
    expression: Option<Expression>,
}

/// An answer that can be judged.
pub struct Answer {
    pub variables: Variables,
    pub value: Option<f64>,
    /// The answer for people.
    pub seen: String,
}

impl Expectation {
    /// Reads what a probe expects.
    pub fn of(probe: &Probe, question: Question<'_>) -> Result<Self, ExpressionError> {
        let text = probe.expect.as_deref().or_else(|| question.default_expectation());
        let compile = |text| Expression::compile(text, question.variables());
        Ok(Self { expression: text.map(compile).transpose()? })
    }

    /// Whether it depends on a variable.
    pub fn uses(&self, name: &str) -> bool {
        self.expression.as_ref().is_some_and(|expression| expression.uses(name))
    }

    /// Judges an answer. Where no baseline was measured yet, the value is its own.
    pub fn judge(&self, answer: Answer, baseline: Option<f64>, at: Timestamp) -> Sample {
        let Answer { mut variables, value, seen } = answer;
        let failed =
            |why: String| Sample::new(at, Outcome::Error, value, &format!("{seen}: {why}"));
        let Some(expression) = &self.expression else {
            return failed("there is no `expect`; say what must hold".to_owned());
        };
        let is_used = self.uses("value") || self.uses("baseline");
        if is_used && [value, baseline].into_iter().flatten().any(|number| !number.is_finite()) {
            return failed("the number is infinite; something is divided by 0".to_owned());
        }
        if let Some(value) = value {
            variables = variables.double("value", value);
        }
        if let Some(baseline) = baseline.or(value) {
            variables = variables.double("baseline", baseline);
        }
        match expression.holds(&variables) {
            Ok(true) => Sample::new(at, Outcome::Pass, value, &seen),
            Ok(false) => Sample::new(at, Outcome::Fail, value, &seen),
            Err(error) => failed(format!("expect: {error}")),
        }
    }

    /// Whether an expression says what must hold.
    pub fn is_written(&self) -> bool {
        self.expression.is_some()
    }
}
