//! Cuts what a status says of others until it has room in the object: first what went otherwise, then what probes have
//! seen, then what conditions say.

use chaos_api::kinds::{ExceptionStatus, RunStatus};

/// The longest status, in bytes of JSON.
pub const LONGEST: usize = 32 * 1024;

/// To so many bytes a text is cut where there is no room.
const SHORT: usize = 32;

/// Cuts a status until it is short enough.
pub fn fit(status: &mut RunStatus) {
    while is_too_long(status) && halve(&mut status.exceptions) {}
    if is_too_long(status) {
        for probe in &mut status.probes {
            shorten(&mut probe.worst);
            shorten(&mut probe.last);
        }
    }
    if is_too_long(status) {
        status.conditions.iter_mut().for_each(|condition| shorten(&mut condition.message));
    }
}

fn is_too_long(status: &RunStatus) -> bool {
    serde_json::to_string(status).is_ok_and(|text| text.len() > LONGEST)
}

/// Puts the rarer half of the groups into one. Whether there was anything left to cut.
fn halve(exceptions: &mut Vec<ExceptionStatus>) -> bool {
    if exceptions.len() < 2 {
        return exceptions.pop().is_some();
    }
    let rest = exceptions.split_off((exceptions.len() / 2).saturating_sub(1));
    let count = rest.iter().map(|one| one.count).fold(0, u32::saturating_add);
    let message = "other messages, for which there is no room".to_owned();
    exceptions.push(ExceptionStatus { count, message, example: rest[0].example.clone() });
    true
}

fn shorten(text: &mut String) {
    if text.len() > SHORT {
        text.truncate(text.floor_char_boundary(SHORT));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use chaos_api::kinds::ProbeStatus;
    use serde_json::json;

    use super::*;

    fn status(exceptions: usize) -> RunStatus {
        let sentences = "drop egress tcp to 10.0.0.1 port 1; ".repeat(320);
        let fault = json!({ "target": "web", "do": sentences, "for": "1m" });
        let mut status: RunStatus = serde_json::from_value(json!({
            "phase": "Running", "spec": { "steps": [{ "name": "slow", "fault": fault }] },
        }))
        .unwrap();
        let seen = "é€𝄞".repeat(40);
        let probe = |number: usize| ProbeStatus {
            name: format!("{number:-<40}"),
            last: seen.clone(),
            worst: seen.clone(),
            ..ProbeStatus::default()
        };
        status.probes = (0..16).map(probe).collect();
        let exception = |number: usize| ExceptionStatus {
            count: 2,
            message: format!("{number} {}", "\u{fffd}".repeat(50)),
            example: format!("shop/{}", "a".repeat(200)),
        };
        status.exceptions = (0..exceptions).map(exception).collect();
        status
    }

    fn length(status: &RunStatus) -> usize {
        serde_json::to_string(status).unwrap().len()
    }

    #[test]
    fn exceptions_are_cut_first_and_stay_counted() {
        let mut status = status(50);
        status.probes.truncate(8);
        let probes = status.probes.clone();
        assert!(length(&status) > LONGEST, "{}", length(&status));
        fit(&mut status);
        assert!(length(&status) <= LONGEST, "{}", length(&status));
        assert_eq!(status.probes, probes);
        let all: u32 = status.exceptions.iter().map(|one| one.count).sum();
        assert_eq!((all, status.exceptions[0].message.starts_with("0 ")), (100, true));
        let cut = status.clone();
        fit(&mut status);
        assert_eq!(status, cut);
    }

    #[test]
    fn sixteen_probes_with_much_to_say_have_room() {
        let mut status = status(50);
        fit(&mut status);
        assert!(length(&status) <= LONGEST, "{}", length(&status));
        assert!(status.probes.iter().all(|probe| probe.worst.starts_with("é€𝄞")));
        let spec = status.spec.unwrap();
        assert_eq!(spec.steps[0].fault.as_ref().unwrap().sentences.len(), 320 * 36);
    }
}
