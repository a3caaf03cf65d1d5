//! Reads the probes of an experiment: parameters are put in, and what the API server cannot check is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chaos_api::kinds::{ExperimentSpec, Probe};
use chaos_fault::parse_duration;
use thiserror::Error;

use super::{
    Checks,
    fill::{fill, needs_account},
};

/// Between two questions, where a probe does not say.
const EVERY: Duration = Duration::from_secs(5);

/// Within which time a probe must hold again, where it does not say.
const RECOVER: Duration = Duration::from_secs(30);

/// Before anything is broken, and when nothing is any more, probes are asked at least this often.
const BRISK: Duration = Duration::from_secs(1);

/// The longest probe, in bytes of JSON, with its parameters put in.
const LONGEST: usize = 32 * 1024;

/// What is wrong with a probe.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProbeError {
    #[error("probe {probe}: `$({name})` is no parameter; there are: {known}")]
    Param { probe: String, name: String, known: String },
    #[error(
        "probe {probe}: it is asked with the rights of the experiment's service account, so only the experiment says what `$({name})` is; leave {name} out of the run's params"
    )]
    Given { probe: String, name: String },
    #[error(
        "probe {probe}: it is {bytes} bytes long as JSON with its parameters put in, and {LONGEST} are allowed; use shorter values, or use them fewer times"
    )]
    TooLong { probe: String, bytes: usize },
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
            | Self::Given { probe, .. }
            | Self::TooLong { probe, .. }
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
    /// How long an answer may take, with those of the same session, which come one after the other.
    pub timeout: Duration,
}

impl Probing {
    /// Whether it is asked at all: what the kernels have counted is known.
    pub fn is_asked(&self) -> bool {
        self.probe.ledger.is_none()
    }

    /// Probes of the same session are asked one after the other.
    pub fn session(&self) -> Option<&str> {
        self.probe.http.as_ref().and_then(|http| http.session.as_deref())
    }

    /// Between two questions, before anything is broken and after that.
    pub fn brisk(&self) -> Duration {
        self.every.min(BRISK)
    }
}

/// The values of parameters, by their names.
#[derive(Debug, Clone, Default)]
pub struct Values<'a> {
    pub all: BTreeMap<&'a str, &'a str>,
    /// Those of `all` that a run has given in place of the experiment's.
    pub given: BTreeSet<&'a str>,
}

/// Reads all probes of an experiment.
pub fn read(
    spec: &ExperimentSpec,
    values: &Values<'_>,
    checks: &mut Checks,
) -> Result<Vec<Probing>, ProbeError> {
    let mut names = BTreeSet::new();
    if let Some(twice) = spec.probes.iter().find(|probe| !names.insert(&probe.name)) {
        return Err(ProbeError::Twice(twice.name.clone()));
    }
    let read = spec.probes.iter().map(|probe| read_one(probe, spec, values, checks));
    let mut probings = read.collect::<Result<Vec<Probing>, ProbeError>>()?;
    let mut of_sessions: BTreeMap<String, Duration> = BTreeMap::new();
    for probing in &probings {
        if let Some(session) = probing.session() {
            *of_sessions.entry(session.to_owned()).or_default() += probing.timeout;
        }
    }
    for probing in &mut probings {
        let all = probing.session().and_then(|session| of_sessions.get(session));
        probing.timeout = all.copied().unwrap_or(probing.timeout);
    }
    Ok(probings)
}

fn read_one(
    probe: &Probe,
    spec: &ExperimentSpec,
    values: &Values<'_>,
    checks: &mut Checks,
) -> Result<Probing, ProbeError> {
    let of = || probe.name.clone();
    let Values { all: params, given } = values;
    if needs_account(probe) {
        // Or whoever may make a run would say what is read with the rights of the account, and who gets it.
        let own = params.iter().filter(|(name, _)| !given.contains(*name));
        let own = own.map(|(name, value)| (*name, *value)).collect();
        if let Err(name) = fill(probe, &own)
            && given.contains(name.as_str())
        {
            return Err(ProbeError::Given { probe: of(), name });
        }
    }
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
    let too_long = |bytes| ProbeError::TooLong { probe: of(), bytes };
    let text = serde_json::to_string(&probe).map_err(|_| too_long(usize::MAX))?;
    if text.len() > LONGEST {
        return Err(too_long(text.len()));
    }
    if let Some(mistake) = checks.probe(&probe, &text) {
        return Err(ProbeError::Mistake { probe: of(), mistake });
    }
    Ok(Probing {
        every: duration("every", &probe.every, EVERY)?,
        recover: duration("recover", &probe.recover, RECOVER)?,
        timeout: chaos_probe::longest(&probe),
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
        let all = BTreeMap::from([("host", "web.shop")]);
        let values = Values { all, ..Values::default() };
        read(&serde_json::from_value(spec).unwrap(), &values, &mut Checks::default())
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
    fn an_answer_may_take_as_long_as_those_of_its_session_together() {
        let of = |name: &str, session: Option<&str>, timeout: Option<&str>| {
            let http = json!({ "url": "http://web", "session": session, "timeout": timeout });
            json!({ "name": name, "http": http })
        };
        let probes = read_spec(json!([
            of("a", Some("jason"), Some("2s")),
            of("b", Some("jason"), None),
            of("c", None, Some("2s")),
        ]));
        let seconds: Vec<u64> = probes.unwrap().iter().map(|one| one.timeout.as_secs()).collect();
        assert_eq!(seconds, [7, 7, 2]);
    }

    #[test]
    fn what_is_read_by_an_account_has_no_values_of_a_run() {
        let of = |probe: Value| {
            let step = json!({ "name": "rest", "wait": { "for": "1s" } });
            let spec = json!({ "probes": [probe], "steps": [step] });
            let all = BTreeMap::from([("host", "thief"), ("path", "/")]);
            let values = Values { all, given: BTreeSet::from(["host"]) };
            read(&serde_json::from_value(spec).unwrap(), &values, &mut Checks::default())
        };
        let secret = |url: &str| {
            let word = json!({ "name": "shop", "key": "word" });
            let header = json!({ "name": "Authorization", "secretKeyRef": word });
            json!({ "name": "web", "http": { "url": url, "headers": [header] } })
        };
        let objects =
            json!({ "name": "web", "kubernetes": { "kind": "Deployment", "name": "$(host)" } });
        for probe in [secret("http://$(host)$(path)"), objects] {
            let error = of(probe).unwrap_err();
            let given = ProbeError::Given { probe: "web".into(), name: "host".into() };
            assert_eq!(error, given);
            assert!(error.to_string().ends_with("leave host out of the run's params"), "{error}");
        }
        assert!(of(secret("http://web$(path)")).is_ok());
        assert!(of(json!({ "name": "web", "http": { "url": "http://$(host)" } })).is_ok());
    }

    #[test]
    fn values_make_no_probe_as_long_as_they_like() {
        let body = "$(host)".repeat(LONGEST / "web.shop".len());
        let http = json!({ "url": "http://web", "method": "POST", "body": body });
        let error = read_spec(json!([{ "name": "web", "http": http }])).unwrap_err();
        assert!(error.to_string().contains("32768 are allowed"), "{error}");
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
