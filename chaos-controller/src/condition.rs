//! Evaluates the `if` of a step, over what probes have seen.

use chaos_api::kinds::{ProbeState, ProbeStatus};
use chaos_expression::{Expression, ExpressionError, Variables};
use serde_json::{Map, Value, json};

/// What a condition is about.
const PROBES: &str = "probes";

/// Whether a condition can be read.
pub fn check(text: &str) -> Result<(), ExpressionError> {
    Expression::compile(text, &[PROBES]).map(|_| ())
}

/// Whether it holds.
pub fn holds(text: &str, probes: &[ProbeStatus]) -> Result<bool, ExpressionError> {
    let all: Map<String, Value> =
        probes.iter().map(|probe| (probe.name.clone(), of_probe(probe))).collect();
    let variables = Variables::default().json(PROBES, &Value::Object(all));
    Expression::compile(text, &[PROBES])?.holds(&variables)
}

/// Whether a condition names a probe, as `probes.NAME` or `probes['NAME']`.
pub fn names(text: &str, probe: &str) -> bool {
    let packed: String = text.chars().filter(|one| !one.is_whitespace()).collect();
    let is_in_brackets = ['\'', '"']
        .iter()
        .any(|quote| packed.contains(&format!("{PROBES}[{quote}{probe}{quote}]")));
    let field = format!("{PROBES}.{probe}");
    let ends = |behind: &str| !behind.starts_with(|one: char| one.is_alphanumeric() || one == '_');
    let mut fields = packed.match_indices(&field);
    is_in_brackets || fields.any(|(at, _)| ends(&packed[at + field.len()..]))
}

/// What a condition sees of a probe. A number that was never seen is not there: to ask for it is an error.
fn of_probe(probe: &ProbeStatus) -> Value {
    let mut seen = json!({
        "ok": probe.state == ProbeState::Pass,
        "failed": probe.failed,
        "errors": probe.errors,
    });
    for (name, number) in [("value", probe.value), ("baseline", probe.baseline)] {
        if let Some(number) = number {
            seen[name] = json!(number);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes() -> Vec<ProbeStatus> {
        let checkout = ProbeStatus {
            name: "checkout".into(),
            state: ProbeState::Pass,
            value: Some(2.0),
            baseline: Some(0.5),
            failed: 3,
            ..ProbeStatus::default()
        };
        let quiet = ProbeStatus { name: "no-data".into(), errors: 1, ..ProbeStatus::default() };
        vec![checkout, quiet]
    }

    #[test]
    fn conditions_see_what_probes_have_seen() {
        for (text, expected) in [
            ("probes.checkout.ok", true),
            ("probes.checkout.value > 3.0 * probes.checkout.baseline", true),
            ("probes.checkout.value < 2.0", false),
            ("probes.checkout.failed == 3 && probes['no-data'].errors == 1", true),
            ("probes['no-data'].ok", false),
            ("has(probes['no-data'].value)", false),
        ] {
            assert_eq!(holds(text, &probes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_probe_is_found_in_a_condition() {
        for (text, expected) in [
            ("probes.hit.ok", true),
            ("!( probes . hit .ok)", true),
            ("probes['hit'].failed > 0", true),
            ("probes[ \"hit\" ].ok", true),
            ("probes.hits.ok && probes['a-hit'].ok", false),
            ("probes.web.value > 1.0", false),
        ] {
            assert_eq!(names(text, "hit"), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_decided_is_an_error() {
        for text in ["probes.payments.ok", "probes['no-data'].value < 1.0"] {
            assert_eq!(check(text), Ok(()), "{text}");
            let error = holds(text, &probes()).unwrap_err().to_string();
            assert!(error.contains("no such key"), "{text}: {error}");
        }
        assert!(
            check("probe.checkout.ok").unwrap_err().to_string().contains("`probe` is not known")
        );
        assert!(check("probes.checkout.ok &&").is_err());
    }
}
