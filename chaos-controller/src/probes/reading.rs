//! Reads the probes of an experiment: parameters are put in, and what the API server cannot check is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chaos_api::kinds::{ExperimentSpec, Probe};
use chaos_fault::parse_duration;
use thiserror::Error;

use super::{Checks, fill::fill};

/// Between two questions, where a probe does not say.
const EVERY: Duration = Duration::from_secs(5);

/// Within which time a probe must hold again, where it does not say.
const RECOVER: Duration = Duration::from_secs(30);

/// Before anything is broken, and when nothing is any more, probes are asked at least this often.
const BRISK: Duration = Duration::from_secs(1);

/// What is wrong with a probe.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProbeError {
    #[error("probe {probe}: `$({name})` is no parameter; there are: {known}")]
    Param { probe: String, name: String, known: String },
    #[error("probe {probe}: {field}: {error}")]
    Duration { probe: String, field: &'static str, error: String },
    #[error("probe {probe}: ledger.step: {step} is no step of the experiment")]
    Step { probe: String, step: String },
    #[error("probe {0}: the name is there twice; names of probes must differ")]
    Twice(String),
    #[error("probe {probe}: {mistake}")]
    Mistake { probe: String, mistake: String },
}

impl ProbeError {
    /// The name of the probe.
    pub fn probe(&self) -> &str {
        match self {
            Self::Param { probe, .. }
            | Self::Duration { probe, .. }
            | Self::Step { probe, .. }
            | Self::Twice(probe)
            | Self::Mistake { probe, .. } => probe,
        }
    }
}

/// A probe that can be asked, with its parameters put in.
#[derive(Debug, Clone, PartialEq)]
pub struct Probing {
    pub probe: Probe,
    /// Between two questions while pods are broken.
    pub every: Duration,
    /// Within which time after the last step it must hold again.
    pub recover: Duration,
}

impl Probing {
    /// Whether it is asked at all: what the kernels have counted is known.
    pub fn is_asked(&self) -> bool {
        self.probe.ledger.is_none()
    }

    /// Between two questions, before anything is broken and after that.
    pub fn brisk(&self) -> Duration {
        self.every.min(BRISK)
    }
}

/// Reads all probes of an experiment.
pub fn read(
    spec: &ExperimentSpec,
    params: &BTreeMap<&str, &str>,
    checks: &mut Checks,
) -> Result<Vec<Probing>, ProbeError> {
    let mut names = BTreeSet::new();
    if let Some(twice) = spec.probes.iter().find(|probe| !names.insert(&probe.name)) {
        return Err(ProbeError::Twice(twice.name.clone()));
    }
    spec.probes.iter().map(|probe| read_one(probe, spec, params, checks)).collect()
}

fn read_one(
    probe: &Probe,
    spec: &ExperimentSpec,
    params: &BTreeMap<&str, &str>,
    checks: &mut Checks,
) -> Result<Probing, ProbeError> {
    let of = || probe.name.clone();
    let probe = fill(probe, params).map_err(|name| ProbeError::Param {
        probe: of(),
        name,
        known: match params.is_empty() {
            true => "none".to_owned(),
            false => params.keys().copied().collect::<Vec<_>>().join(", "),
        },
    })?;
    let duration = |field: &'static str, text: &Option<String>, default: Duration| {
        let read = text.as_deref().map(parse_duration).transpose();
        let read = read.map_err(|mistake| ProbeError::Duration {
            probe: of(),
            field,
            error: mistake.message,
        })?;
        Ok(read.unwrap_or(default))
    };
    let step = probe.ledger.as_ref().and_then(|ledger| ledger.step.as_ref());
    // A library of probes does not know the steps of those that use it.
    let is_there =
        |name: &String| spec.steps.is_empty() || spec.steps.iter().any(|step| step.name == *name);
    if let Some(step) = step.filter(|step| !is_there(step)) {
        return Err(ProbeError::Step { probe: of(), step: step.clone() });
    }
    if let Some(mistake) = checks.probe(&probe) {
        return Err(ProbeError::Mistake { probe: of(), mistake });
    }
    Ok(Probing {
        every: duration("every", &probe.every, EVERY)?,
        recover: duration("recover", &probe.recover, RECOVER)?,
        probe,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read_spec(probes: Value) -> Result<Vec<Probing>, ProbeError> {
        let spec = json!({
            "probes": probes, "targets": { "web": { "pods": {} } },
            "steps": [{ "name": "slow", "wait": { "for": "1s" } }],
        });
        let params = BTreeMap::from([("host", "web.shop")]);
        read(&serde_json::from_value(spec).unwrap(), &params, &mut Checks::default())
    }

    #[test]
    fn probes_have_times_of_their_own_or_those_of_all() {
        let http = json!({ "url": "http://$(host)/" });
        let probes = read_spec(json!([
            { "name": "a", "http": http },
            { "name": "b", "http": http, "every": "10s", "recover": "1m" },
        ]))
        .unwrap();
        let times = |one: &Probing| (one.every.as_secs(), one.recover.as_secs());
        assert_eq!(probes.iter().map(times).collect::<Vec<_>>(), [(5, 30), (10, 60)]);
        assert_eq!(probes[1].brisk(), Duration::from_secs(1));
        assert_eq!(probes[0].probe.http.as_ref().unwrap().url, "http://web.shop/");
    }

    #[test]
    fn mistakes_are_told_with_the_name_of_the_probe() {
        let http = |url: &str| json!({ "name": "web", "http": { "url": url } });
        let mut slow = http("http://web");
        slow["every"] = json!("soon");
        for (probes, expected) in [
            (
                json!([http("http://$(port)")]),
                "probe web: `$(port)` is no parameter; there are: host",
            ),
            (json!([slow]), "probe web: every: "),
            (json!([http("http://a"), http("http://b")]), "probe web: the name is there twice"),
            (json!([http("ftp://web")]), "probe web: "),
            (
                json!([{ "name": "hit", "ledger": { "step": "drop" }, "expect": "injected > 100" }]),
                "probe hit: ledger.step: drop is no step",
            ),
        ] {
            let error = read_spec(probes).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
            assert!(expected.contains(error.probe()), "{error}");
        }
    }
}
