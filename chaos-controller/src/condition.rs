//! Evaluates the `if` of a step, over what probes have seen.

use chaos_api::kinds::{ProbeState, ProbeStatus};
use chaos_expression::{Expression, ExpressionError, Variables};
use serde_json::{Map, Value, json};

/// What a condition is about.
const PROBES: &str = "probes";

/// What it sees of each.
const FIELDS: [&str; 5] = ["ok", "failed", "errors", "value", "baseline"];

/// What a condition asks for: a probe, and where it is written a field of it.
pub type Member = (String, Option<String>);

/// Reads a condition, and says what it asks for.
pub fn check(text: &str) -> Result<Vec<Member>, ExpressionError> {
    let expression = Expression::compile(text, &[PROBES])?;
    let members = expression.members().iter().filter_map(|path| match path.as_slice() {
        [_, probe, rest @ ..] => Some((probe.clone(), rest.first().cloned())),
        _ => None,
    });
    Ok(members.collect())
}

/// The first thing that no probe has, and what there is instead. `probes` is nothing where not all of them are known.
pub fn unseen(members: &[Member], probes: Option<&[&str]>) -> Option<(String, String)> {
    members.iter().find_map(|(probe, field)| match (probes, field) {
        (Some(known), _) if !known.contains(&probe.as_str()) => {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Some((format!("`{PROBES}.{probe}`"), known))
        }
        (_, Some(field)) if !FIELDS.contains(&field.as_str()) => {
            Some((format!("`{PROBES}.{probe}.{field}`"), FIELDS.join(", ")))
        }
        (Some(_) | None, _) => None,
    })
}

/// Whether it holds.
pub fn holds(text: &str, probes: &[ProbeStatus]) -> Result<bool, ExpressionError> {
    let all: Map<String, Value> =
        probes.iter().map(|probe| (probe.name.clone(), of_probe(probe))).collect();
    let variables = Variables::default().json(PROBES, &Value::Object(all));
    Expression::compile(text, &[PROBES])?.holds(&variables)
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
    fn what_no_probe_has_is_found_before_it_is_asked_for() {
        let known: &[&str] = &["checkout", "no-data"];
        for (text, probes, expected) in [
            ("probes.checkout.ok && probes['no-data'].failed < 3", Some(known), None),
            ("has(probes.checkout.value)", Some(known), None),
            ("!probes.checkuot.ok", Some(known), Some("`probes.checkuot`")),
            ("has(probes['payments'].value)", Some(known), Some("`probes.payments`")),
            ("probes.checkout.okay || true", Some(known), Some("`probes.checkout.okay`")),
            // Libraries have probes that are not known here.
            ("probes.payments.ok", None, None),
            ("probes.payments.fails > 3", None, Some("`probes.payments.fails`")),
        ] {
            let found = unseen(&check(text).unwrap(), probes);
            assert_eq!(found.as_ref().map(|(what, _)| what.as_str()), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_decided_is_an_error() {
        for text in ["probes.payments.ok", "probes['no-data'].value < 1.0"] {
            assert!(check(text).is_ok(), "{text}");
            let error = holds(text, &probes()).unwrap_err().to_string();
            assert!(error.contains("no such key"), "{text}: {error}");
        }
        assert!(
            check("probe.checkout.ok").unwrap_err().to_string().contains("`probe` is not known")
        );
        assert!(check("probes.checkout.ok &&").is_err());
    }
}
