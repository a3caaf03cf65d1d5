//! Reads what an experiment says: its sentences with parameters put in, its durations, its expressions. What is wrong is
//! told with the step or target it is in.

mod deed;
mod error;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chaos_api::kinds::{CheckStep, ExperimentSpec, Mode, Peer, Step};
use chaos_fault::{Fault, parse_duration, print_duration};

use self::error::LONGEST;
pub use self::{
    deed::{Act, Choice, Deed},
    error::ScriptError,
};
use crate::{
    condition::unseen,
    expression::Expressions,
    limits::Limits,
    params::Filled,
    peers::network,
    pick::Amount,
    probes::{self, Checks, Probing, Values},
    removal::grace,
};

/// How long a step waits until all of its pods are armed, where it does not say.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a step may take to remove its pods, where it does not say.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(120);

/// How much longer a step may wait for probes than they must hold, where it does not say.
const CHECK_TIMEOUT: Duration = Duration::from_secs(120);

/// An experiment that can be run.
#[derive(Debug, Clone)]
pub struct Script {
    pub targets: BTreeMap<String, Choice>,
    pub peers: BTreeMap<String, Peer>,
    pub probes: Vec<Probing>,
    pub steps: Vec<Act>,
    pub limits: Limits,
}

impl Script {
    /// Reads an experiment. `given` are the parameters of a run, which go before those of the experiment.
    pub fn read<'a>(
        spec: &ExperimentSpec,
        given: impl IntoIterator<Item = (&'a String, &'a str)>,
        mode: Mode,
        expressions: &mut Expressions,
        checks: &mut Checks,
    ) -> Result<Self, ScriptError> {
        let length = serde_json::to_string(spec).map_or(usize::MAX, |text| text.len());
        if length > LONGEST {
            return Err(ScriptError::TooLong(length));
        }
        let own = spec.params.iter().map(|(name, value)| (name.as_str(), value.0.as_str()));
        let mut values = Values { all: own.collect(), ..Values::default() };
        for (name, value) in given {
            match values.all.get_mut(name.as_str()) {
                Some(before) => *before = value,
                None => return Err(ScriptError::UnknownParam(name.clone())),
            }
            values.given.insert(name);
        }
        let mut targets = BTreeMap::new();
        for (name, target) in &spec.targets {
            if let Some(text) = &target.r#where {
                expressions
                    .check(text)
                    .map_err(|error| ScriptError::Where { target: name.clone(), error })?;
            }
            let amount = Amount::read(target.pick.as_ref())
                .map_err(|error| ScriptError::Pick { target: name.clone(), error })?;
            targets.insert(name.clone(), Choice { target: target.clone(), amount });
        }
        for (name, peer) in &spec.peers {
            if let Some(text) = peer.cidr.iter().find(|text| network(text).is_none()) {
                return Err(ScriptError::Cidr { peer: name.clone(), text: text.clone() });
            }
        }
        let peers = spec.peers.clone();
        let probes = probes::read(spec, &values, checks)?;
        let steps: Vec<Act> = spec
            .steps
            .iter()
            .map(|step| {
                check_probes(step, spec)?;
                act(step, &targets, &peers, &values.all, mode)
            })
            .collect::<Result<_, _>>()?;
        // Libraries have probes of their own.
        let known: Option<Vec<&str>> = spec
            .probes_from
            .is_empty()
            .then(|| spec.probes.iter().map(|probe| probe.name.as_str()).collect());
        for step in &spec.steps {
            let Some(text) = &step.condition else { continue };
            let checked = checks.condition(text);
            let step = &step.name;
            let asked =
                checked.map_err(|error| ScriptError::Condition { step: step.clone(), error })?;
            if let Some((what, known)) = unseen(&asked, known.as_deref()) {
                return Err(ScriptError::Unseen { step: step.clone(), what, known });
            }
            let mut ledgers = spec.probes.iter().filter(|probe| probe.ledger.is_some());
            if let Some(probe) = ledgers.find(|one| asked.iter().any(|(name, _)| *name == one.name))
            {
                let (step, name) = (step.clone(), probe.name.clone());
                return Err(ScriptError::Unjudged { step, field: "if", name });
            }
        }
        Ok(Self { targets, peers, probes, steps, limits: Limits::read(&spec.limits)? })
    }

    /// With what a run draws: always the same.
    pub fn drawn(mut self, run_uid: &str) -> Self {
        for (name, choice) in &mut self.targets {
            choice.amount = choice.amount.drawn(run_uid, name);
        }
        self
    }

    /// Where its pods are, for a run in the namespace `home`.
    pub fn namespaces<'a>(&'a self, home: &'a str) -> BTreeSet<&'a str> {
        self.targets.values().flat_map(|choice| choice.namespaces(home)).collect()
    }

    /// Why it may not be run in the namespace `home`, if so: other namespaces are named in `own` only.
    pub fn misplaced(&self, home: &str, own: &str) -> Option<String> {
        let names_others = |choice: &Choice| !choice.target.namespaces.is_empty();
        let (name, _) = self.targets.iter().find(|(_, one)| names_others(one) && home != own)?;
        Some(format!(
            "target {name}: namespaces are honoured in namespace {own} only; leave them out, or make it there"
        ))
    }

    /// How long all steps take together.
    pub fn lasting(&self) -> Duration {
        self.steps.iter().map(|act| act.deed.lasting()).sum()
    }
}

fn act(
    step: &Step,
    targets: &BTreeMap<String, Choice>,
    peers: &BTreeMap<String, Peer>,
    params: &BTreeMap<&str, &str>,
    mode: Mode,
) -> Result<Act, ScriptError> {
    let name = &step.name;
    let lasting = |field: &'static str, text: &str| {
        parse_duration(text).map_err(|mistake| ScriptError::Duration {
            step: name.clone(),
            field,
            error: mistake.message,
        })
    };
    let choice = |target: &String| {
        targets
            .get(target)
            .ok_or_else(|| ScriptError::Target { step: name.clone(), target: target.clone() })
    };
    let timeout = step.timeout.as_deref().map(|text| lasting("timeout", text)).transpose()?;
    let deed = match (&step.fault, &step.pods, &step.check, &step.wait) {
        (Some(fault), ..) => {
            let choice = choice(&fault.target)?;
            let written = sentences(name, &fault.sentences, params)?;
            check_names(name, &written, targets, peers)?;
            Deed::Fault {
                target: fault.target.clone(),
                faults: for_containers(written, &choice.target.containers, mode),
                lasting: lasting("for", &fault.duration)?,
            }
        }
        (None, Some(pods), ..) => {
            choice(&pods.target)?;
            let read = pods.grace_period.as_deref().map(grace).transpose();
            let grace = read.map_err(|error| ScriptError::Duration {
                step: name.clone(),
                field: "gracePeriod",
                error,
            })?;
            let timeout = timeout.unwrap_or(REMOVAL_TIMEOUT);
            Deed::Pods { target: pods.target.clone(), action: pods.action, grace, timeout }
        }
        (None, None, Some(check), _) => {
            let lasting = lasting("for", &check.duration)?;
            let timeout = timeout.unwrap_or(lasting + CHECK_TIMEOUT);
            if timeout < lasting {
                return Err(ScriptError::Impatient {
                    step: name.clone(),
                    lasting: print_duration(lasting),
                    timeout: print_duration(timeout),
                });
            }
            Deed::Check { probes: check.probes.clone(), lasting, timeout }
        }
        (None, None, None, Some(wait)) => Deed::Wait(lasting("for", &wait.duration)?),
        (None, None, None, None) => return Err(ScriptError::Nothing { step: name.clone() }),
    };
    Ok(Act {
        name: name.clone(),
        deed,
        condition: step.condition.clone(),
        timeout: timeout.unwrap_or(TIMEOUT),
        on_error: step.on_error,
    })
}

/// Refuses a check of ledgers, and of probes that are not there; those of other experiments come with the copy that a run works from.
fn check_probes(step: &Step, spec: &ExperimentSpec) -> Result<(), ScriptError> {
    let Some(CheckStep { probes, .. }) = &step.check else { return Ok(()) };
    let of = |name: &String| spec.probes.iter().find(|probe| probe.name == *name);
    let is_ledger = |name: &&String| of(name).is_some_and(|probe| probe.ledger.is_some());
    if let Some(name) = probes.iter().find(is_ledger) {
        let (step, name) = (step.name.clone(), name.clone());
        return Err(ScriptError::Unjudged { step, field: "check", name });
    }
    let is_there = |name: &&String| of(name).is_some();
    let unknown = probes.iter().find(|name| !is_there(name));
    let Some(name) = unknown.filter(|_| spec.probes_from.is_empty()) else { return Ok(()) };
    let known: Vec<&str> = spec.probes.iter().map(|probe| probe.name.as_str()).collect();
    let (step, name) = (step.name.clone(), name.clone());
    Err(ScriptError::Probe { step, name, known: known.join(", ") })
}

/// Refuses names that are no peer's.
fn check_names(
    step: &str,
    faults: &[Fault],
    targets: &BTreeMap<String, Choice>,
    peers: &BTreeMap<String, Peer>,
) -> Result<(), ScriptError> {
    let mut names = faults.iter().flat_map(Fault::names);
    let Some(unknown) = names.find(|name| !peers.contains_key(*name)) else { return Ok(()) };
    Err(ScriptError::Peer {
        step: step.to_owned(),
        name: unknown.to_owned(),
        known: peers.keys().cloned().collect::<Vec<_>>().join(", "),
        hint: match targets.contains_key(unknown) {
            true => " (it is a target; say among `peers` which pods are meant)",
            false => "",
        },
    })
}

fn sentences(
    step: &str,
    text: &str,
    params: &BTreeMap<&str, &str>,
) -> Result<Vec<Fault>, ScriptError> {
    let text = put_in(step, text, params)?;
    let read = chaos_fault::parse(&text).map_err(|errors| ScriptError::Sentences {
        step: step.to_owned(),
        report: errors.render(&text, "do", false),
    })?;
    let faults: Vec<Fault> = read.into_iter().map(|sentence| sentence.fault).collect();
    if faults.is_empty() {
        return Err(ScriptError::Empty { step: step.to_owned() });
    }
    for fault in &faults {
        let refuse =
            |clause, remedy| Err(ScriptError::Clause { step: step.to_owned(), clause, remedy });
        if fault.duration.is_some() {
            return refuse("for", "write it beside `do`, as the field `for`");
        }
        if fault.until.is_some() || fault.name.is_some() || fault.guarded {
            return refuse("until, as or guarded", "leave it out");
        }
        if fault.container.is_some() {
            return refuse("in container", "name containers in the target");
        }
        if fault.shadow {
            return refuse("shadow", "make a Run with `mode: Shadow`");
        }
        if fault.pods().next().is_some() {
            return refuse("pod", "name the pods among `peers`, and write `@NAME`");
        }
    }
    Ok(faults)
}

/// Puts values in place of `$(NAME)`.
fn put_in(step: &str, text: &str, params: &BTreeMap<&str, &str>) -> Result<String, ScriptError> {
    let filled = Filled::of(text, params).map_err(|name| ScriptError::Param {
        step: step.to_owned(),
        name,
        known: params.keys().copied().collect::<Vec<_>>().join(", "),
    })?;
    if let Some((name, character)) = Filled::breaking(text, params) {
        let (step, name) = (step.to_owned(), name.to_owned());
        return Err(ScriptError::Value { step, name, character });
    }
    Ok(filled.text)
}

fn for_containers(faults: Vec<Fault>, containers: &[String], mode: Mode) -> Vec<Fault> {
    let shadow = match mode {
        Mode::Shadow => true,
        Mode::Plan | Mode::Armed => false,
    };
    let faults: Vec<Fault> = faults.into_iter().map(|fault| Fault { shadow, ..fault }).collect();
    if containers.is_empty() {
        return faults;
    }
    let names: BTreeSet<&String> = containers.iter().collect();
    let mut all = Vec::new();
    for name in names {
        let in_container = |fault: &Fault| Fault { container: Some(name.clone()), ..fault.clone() };
        all.extend(faults.iter().map(in_container));
    }
    all
}

#[cfg(test)]
mod tests {
    use chaos_api::kinds::OnError;
    use serde_json::{Value, json};

    use super::*;

    fn spec(change: impl FnOnce(&mut Value)) -> ExperimentSpec {
        let mut spec = json!({
            "params": { "latency": "200ms" },
            "targets": { "web": { "pods": { "matchLabels": { "app": "web" } }, "pick": "50%" } },
            "steps": [
                { "name": "slow", "fault": { "target": "web", "do": "delay $(latency) egress tcp", "for": "5m" } },
                { "name": "rest", "wait": { "for": "30s" }, "onError": "Continue" },
            ],
        });
        change(&mut spec);
        serde_json::from_value(spec).unwrap()
    }

    fn read(
        spec: &ExperimentSpec,
        params: &[(&str, &str)],
        mode: Mode,
    ) -> Result<Script, ScriptError> {
        let params: Vec<(String, &str)> =
            params.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let given = params.iter().map(|(name, value)| (name, *value));
        Script::read(spec, given, mode, &mut Expressions::default(), &mut Checks::default())
    }

    fn sentences_of(script: &Script) -> Vec<String> {
        match &script.steps[0].deed {
            Deed::Fault { faults, .. } => faults.iter().map(ToString::to_string).collect(),
            Deed::Pods { .. } | Deed::Check { .. } | Deed::Wait(_) => Vec::new(),
        }
    }

    #[test]
    fn parameters_are_put_in_and_those_of_the_run_go_first() {
        let script = read(&spec(|_| ()), &[], Mode::Armed).unwrap();
        assert_eq!(sentences_of(&script), ["delay 200ms egress tcp"]);
        assert_eq!(script.lasting(), Duration::from_secs(330));
        assert_eq!(script.steps[1].on_error, OnError::Continue);
        let script = read(&spec(|_| ()), &[("latency", "1s")], Mode::Shadow).unwrap();
        assert_eq!(sentences_of(&script), ["shadow delay 1s egress tcp"]);
    }

    #[test]
    fn the_sample_can_be_read() {
        let sample: Value =
            serde_saphyr::from_str(include_str!("../../manifests/samples/experiment.yaml"))
                .unwrap();
        let sample: ExperimentSpec = serde_json::from_value(sample["spec"].clone()).unwrap();
        let script = read(&sample, &[("latency", "400ms")], Mode::Armed).unwrap();
        assert_eq!(sentences_of(&script), ["delay 400ms jitter 20ms egress tcp to 10.96.0.12"]);
        assert_eq!(script.limits.too_long(script.lasting()), None);
        let sample: Value =
            serde_saphyr::from_str(include_str!("../../manifests/samples/experiment-pods.yaml"))
                .unwrap();
        let sample: ExperimentSpec = serde_json::from_value(sample["spec"].clone()).unwrap();
        let script = read(&sample, &[], Mode::Armed).unwrap();
        assert!(matches!(script.steps[0].deed, Deed::Pods { grace: Some(0), .. }));
    }

    #[test]
    fn containers_have_sentences_of_their_own() {
        let spec = spec(|spec| spec["targets"]["web"]["containers"] = json!(["side", "main"]));
        let script = read(&spec, &[], Mode::Armed).unwrap();
        let expected = [
            "delay 200ms egress tcp in container main",
            "delay 200ms egress tcp in container side",
        ];
        assert_eq!(sentences_of(&script), expected);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let with_do = |text: &str| spec(|spec| spec["steps"][0]["fault"]["do"] = json!(text));
        for (spec, expected) in [
            (with_do("drip egress"), "step slow: `do` cannot be read:\nerror: "),
            (
                with_do("drop for 1m"),
                "step slow: `do` has `for`, which the controller writes itself; write it beside",
            ),
            (with_do("drop in container db"), "name containers in the target"),
            (
                spec(|spec| spec["steps"][0]["if"] = json!("probes.home.ok")),
                "step slow: if: `probes.home` is not there; there are: none",
            ),
            (with_do("drop until 2026-11-28T10:14:00Z"), "leave it out"),
            (with_do("drop as mine"), "leave it out"),
            (with_do("shadow drop"), "`mode: Shadow`"),
            (with_do("drop to pod shop/db"), "name the pods among `peers`"),
            (with_do("drop to @db"), "step slow: `@db` is no peer; there are: "),
            (with_do("drop to @web"), "(it is a target; say among `peers` which pods are meant)"),
            (
                spec(|spec| spec["peers"] = json!({ "out": { "cidr": ["10.0.0.1/8"] } })),
                "peer out: cidr: `10.0.0.1/8` is not",
            ),
            (with_do("# nothing"), "step slow: `do` has no sentence"),
            (with_do("delay $(delay)"), "`$(delay)` is no parameter; there are: latency"),
            (
                spec(|spec| spec["targets"]["web"]["where"] = json!("pod.")),
                "target web: where: it cannot be read",
            ),
            (spec(|spec| spec["targets"]["web"]["pick"] = json!("0%")), "target web: pick: "),
            (
                spec(|spec| {
                    let pods = json!({ "target": "web", "action": "Delete", "gracePeriod": "2h" });
                    spec["steps"][0] = json!({ "name": "kill", "pods": pods });
                }),
                "step kill: gracePeriod: `2h` is no whole number of seconds up to an hour",
            ),
            (
                spec(|spec| spec["steps"][0]["fault"]["target"] = json!("db")),
                "step slow: target db is not there",
            ),
            (spec(|spec| spec["params"]["x"] = json!("x".repeat(13_000))), "at most 12288 fit"),
        ] {
            let error = read(&spec, &[], Mode::Armed).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = read(&spec(|_| ()), &[("delay", "1s")], Mode::Armed).unwrap_err().to_string();
        assert_eq!(error, "the parameter delay is not one of the experiment's");
    }

    #[test]
    fn a_caret_points_at_the_word() {
        let spec = spec(|spec| spec["steps"][0]["fault"]["do"] = json!("drop 200% egress"));
        let error = read(&spec, &[], Mode::Armed).unwrap_err().to_string();
        assert!(error.contains("1 | drop 200% egress") && error.contains("^^^^"), "{error}");
    }
}
