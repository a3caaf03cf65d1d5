//! Renders the probes of a Run: what each has seen last, beside its baseline.

use chaos_api::kinds::{ExperimentSpec, ProbeState, ProbeStatus, Run, RunStatus};
use chaos_controller::counted;

use crate::{
    printable::in_one_line,
    text::{BOLD, DIM, GREEN, RED, YELLOW, number, styled, table},
};

/// A line for each probe.
pub(super) fn probes(run: &Run, status: &RunStatus, most: usize) -> Vec<String> {
    if status.probes.is_empty() {
        return Vec::new();
    }
    let spec = status.spec.as_ref().or(run.spec.inline.as_ref());
    let rows: Vec<Vec<String>> = status.probes.iter().map(|probe| row(probe, spec)).collect();
    let mut lines = vec![String::new(), styled(DIM, "probes")];
    lines.extend(table(&rows, most));
    lines
}

fn row(probe: &ProbeStatus, spec: Option<&ExperimentSpec>) -> Vec<String> {
    let (sign, style) = match probe.state {
        ProbeState::Unasked => ("·", DIM),
        ProbeState::Pass => ("✓", GREEN),
        ProbeState::Fail => ("✗", RED),
        ProbeState::Error => ("?", YELLOW),
    };
    vec![
        format!("{} {}", styled(style, sign), probe.name),
        styled(style, state_word(probe.state)),
        values(probe, spec),
        checks(probe),
        styled(DIM, &in_one_line(&probe.last)),
    ]
}

/// What came of the last question, in one word.
pub(super) fn state_word(state: ProbeState) -> &'static str {
    match state {
        ProbeState::Unasked => "not asked yet",
        ProbeState::Pass => "pass",
        ProbeState::Fail => "fail",
        ProbeState::Error => "error",
    }
}

/// The number that was seen last, and the one before anything was broken.
fn values(probe: &ProbeStatus, spec: Option<&ExperimentSpec>) -> String {
    let is_time = is_time(&probe.name, spec);
    let words = |value: f64| number_in_words(value, is_time);
    match (probe.value, probe.baseline) {
        (Some(value), Some(baseline)) => {
            let before = styled(DIM, &format!("(was {})", words(baseline)));
            format!("{} {before}", styled(BOLD, &words(value)))
        }
        (Some(value), None) => styled(BOLD, &words(value)),
        (None, Some(baseline)) => styled(DIM, &format!("(was {})", words(baseline))),
        (None, None) => String::new(),
    }
}

fn checks(probe: &ProbeStatus) -> String {
    let ProbeStatus { checks, failed, errors, .. } = *probe;
    let mut parts = vec![format!("{}/{} failed", number(failed.into()), number(checks.into()))];
    if errors > 0 {
        parts.push(counted(errors, "error"));
    }
    parts.join(", ")
}

/// Whether the numbers of a probe are seconds: those of http and tcp are latencies.
pub fn is_time(name: &str, spec: Option<&ExperimentSpec>) -> bool {
    let mut probes = spec.iter().flat_map(|spec| &spec.probes);
    probes.any(|probe| probe.name == name && (probe.http.is_some() || probe.tcp.is_some()))
}

/// A number of a probe: `231ms`, `1.25s`, `0.0312`, `12,000`.
pub fn number_in_words(value: f64, is_time: bool) -> String {
    let size = value.abs();
    let trimmed = |text: String| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    match is_time {
        true if size < 0.01 => format!("{}ms", trimmed(format!("{:.2}", value * 1e3))),
        true if size < 1.0 => format!("{:.0}ms", value * 1e3),
        true => format!("{}s", trimmed(format!("{value:.2}"))),
        false if !(1e-4..1e15).contains(&size) && size != 0.0 => format!("{value:.3e}"),
        false if size >= 1e3 && value > 0.0 => number(value.round() as u64),
        false if size >= 1e3 => format!("{value:.0}"),
        false if size >= 1.0 => trimmed(format!("{value:.2}")),
        false => trimmed(format!("{value:.4}")),
    }
}

/// The probe that is worst off: one that fails before one without an answer, and that before one that holds.
pub(super) fn worst(status: &RunStatus) -> Option<&ProbeStatus> {
    status.probes.iter().min_by_key(|probe| {
        let rank = match probe.state {
            ProbeState::Fail => 0,
            ProbeState::Error => 1,
            ProbeState::Unasked => 3,
            ProbeState::Pass => 2,
        };
        (rank, u32::MAX - probe.broke, u32::MAX - probe.failed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, is_time, expected) in [
            (0.231, true, "231ms"),
            (0.0048, true, "4.8ms"),
            (0.999, true, "999ms"),
            (1.25, true, "1.25s"),
            (30.0, true, "30s"),
            (0.0, true, "0ms"),
            (0.0312, false, "0.0312"),
            (0.5, false, "0.5"),
            (99.95, false, "99.95"),
            (12_000.0, false, "12,000"),
            (-12_000.0, false, "-12000"),
            (3.0, false, "3"),
            (0.0, false, "0"),
            (0.000_001, false, "1.000e-6"),
        ] {
            assert_eq!(number_in_words(value, is_time), expected, "{value}");
        }
    }

    #[test]
    fn the_worst_probe_is_one_that_fails() {
        let probes = ["Pass", "Error", "Fail", "Unasked"]
            .map(|state| serde_json::json!({ "name": state, "state": state, "checks": 3 }));
        let status = serde_json::json!({ "phase": "Running", "probes": probes });
        let status: RunStatus = serde_json::from_value(status).unwrap();
        assert_eq!(worst(&status).unwrap().name, "Fail");
    }
}
