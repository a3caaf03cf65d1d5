//! Finds every mistake of an experiment, where reading it as a script stops at the first.

use std::collections::BTreeMap;

use chaos_api::kinds::{ExperimentSpec, Limits, Mode, Probe, Step, TcpProbe, WaitStep};

use crate::{
    expression::Expressions,
    script::{Script, ScriptError},
};

/// The part of an experiment that a mistake is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// A parameter of the run, by its name.
    Param(String),
    Target(String),
    Peer(String),
    /// By its index.
    Probe(usize),
    /// By its index.
    Step(usize),
    Limits,
}

/// One mistake of an experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecMistake {
    pub part: Part,
    pub error: ScriptError,
}

/// Every mistake for which the controller would not run an experiment with these parameters of a run. Each part is read
/// beside parts without mistakes, by what reads the whole.
pub fn mistakes(spec: &ExperimentSpec, given: &BTreeMap<String, String>) -> Vec<SpecMistake> {
    let mut expressions = Expressions::default();
    let mut read = |spec: &ExperimentSpec, given: &BTreeMap<String, String>| {
        let given = given.iter().map(|(name, value)| (name, value.as_str()));
        Script::read(spec, given, Mode::Armed, &mut expressions).err()
    };
    let Some(first) = read(spec, given) else { return Vec::new() };
    let mut found: Vec<SpecMistake> = Vec::new();
    let mut add = |part: Part, error: Option<ScriptError>| {
        let error = error.filter(|error| found.iter().all(|before| before.error != *error));
        found.extend(error.map(|error| SpecMistake { part, error }));
    };
    if matches!(first, ScriptError::TooLong(_)) {
        add(Part::Whole, Some(first.clone()));
    }
    let bare = ExperimentSpec {
        targets: BTreeMap::new(),
        steps: Vec::new(),
        limits: Limits::default(),
        peers: BTreeMap::new(),
        probes: Vec::new(),
        probes_from: Vec::new(),
        ..spec.clone()
    };
    let none = BTreeMap::new();
    for (name, value) in given {
        let one = BTreeMap::from([(name.clone(), value.clone())]);
        add(Part::Param(name.clone()), read(&bare, &one));
    }
    let mut sound = spec.targets.clone();
    for (name, target) in &spec.targets {
        let alone = BTreeMap::from([(name.clone(), target.clone())]);
        let error = read(&ExperimentSpec { targets: alone, ..bare.clone() }, &none);
        if error.is_some()
            && let Some(target) = sound.get_mut(name)
        {
            (target.r#where, target.pick) = (None, None);
        }
        add(Part::Target(name.clone()), error);
    }
    let mut peers = spec.peers.clone();
    for (name, peer) in &spec.peers {
        let alone = BTreeMap::from([(name.clone(), peer.clone())]);
        let error = read(&ExperimentSpec { peers: alone, ..bare.clone() }, &none);
        if error.is_some()
            && let Some(peer) = peers.get_mut(name)
        {
            peer.cidr.clear();
        }
        add(Part::Peer(name.clone()), error);
    }
    let known: BTreeMap<String, String> = given
        .iter()
        .filter(|(name, _)| spec.params.contains_key(*name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    // Probes may name steps.
    let steps: Vec<Step> = spec.steps.iter().map(sound_step).collect();
    for (index, probe) in spec.probes.iter().enumerate() {
        let with = |probes| ExperimentSpec { probes, steps: steps.clone(), ..bare.clone() };
        add(Part::Probe(index), read(&with(vec![probe.clone()]), &known));
        if spec.probes[..index].iter().any(|before| before.name == probe.name) {
            add(
                Part::Probe(index),
                read(&with(vec![sound_probe(probe), sound_probe(probe)]), &known),
            );
        }
    }
    let mut probes: Vec<Probe> = spec.probes.iter().map(sound_probe).collect();
    probes.sort_by(|one, two| one.name.cmp(&two.name));
    probes.dedup_by(|one, two| one.name == two.name);
    for (index, step) in spec.steps.iter().enumerate() {
        let mut alone = ExperimentSpec {
            targets: sound.clone(),
            peers: peers.clone(),
            probes: probes.clone(),
            probes_from: spec.probes_from.clone(),
            steps: vec![step.clone()],
            ..bare.clone()
        };
        let error = read(&alone, &known);
        let has_no_target = matches!(error, Some(ScriptError::Target { .. }));
        add(Part::Step(index), error);
        // What else is wrong with it is found with a target that is there.
        if let (true, Some(name)) = (has_no_target, sound.keys().next()) {
            for fault in alone.steps.iter_mut().filter_map(|step| step.fault.as_mut()) {
                fault.target.clone_from(name);
            }
            add(Part::Step(index), read(&alone, &known));
        }
    }
    add(Part::Limits, read(&ExperimentSpec { limits: spec.limits.clone(), ..bare }, &none));
    if found.is_empty() {
        found.push(SpecMistake { part: Part::Whole, error: first });
    }
    found
}

/// A step of the same name that has no mistake.
fn sound_step(step: &Step) -> Step {
    let wait = Some(WaitStep { duration: "1s".to_owned() });
    let (name, on_error) = (step.name.clone(), step.on_error);
    Step {
        name,
        fault: None,
        pods: None,
        check: None,
        wait,
        condition: None,
        timeout: None,
        on_error,
    }
}

/// A probe of the same name that has no mistake.
fn sound_probe(probe: &Probe) -> Probe {
    Probe {
        name: probe.name.clone(),
        http: None,
        tcp: Some(TcpProbe { address: "localhost:80".to_owned(), timeout: None }),
        prometheus: None,
        alertmanager: None,
        kubernetes: None,
        ledger: None,
        expect: None,
        every: None,
        tolerate: 0,
        during: probe.during,
        recover: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_mistakes_are_found_and_each_once() {
        let spec = serde_json::from_value(json!({
            "params": { "latency": "200ms" },
            "limits": { "share": "130%" },
            "targets": {
                "web": { "pods": {}, "where": "pods.metadata.name == 'x'" },
                "db": { "pods": {}, "pick": "many" },
            },
            "steps": [
                { "name": "a", "fault": { "target": "web", "do": "dorp", "for": "1m" } },
                { "name": "b", "fault": { "target": "cache", "do": "drip", "for": "1m" } },
                { "name": "c", "fault": { "target": "db", "do": "delay $(latency)", "for": "1m" } },
                { "name": "d", "wait": { "for": "soon" } },
            ],
        }))
        .unwrap();
        let given = BTreeMap::from([("latncy".to_owned(), "1s".to_owned())]);
        let found = mistakes(&spec, &given);
        let parts: Vec<&Part> = found.iter().map(|mistake| &mistake.part).collect();
        assert_eq!(
            parts,
            [
                &Part::Param("latncy".into()),
                &Part::Target("db".into()),
                &Part::Target("web".into()),
                &Part::Step(0),
                &Part::Step(1),
                &Part::Step(1),
                &Part::Step(3),
                &Part::Limits,
            ],
            "{found:#?}"
        );
        let steps = json!([{ "name": "a", "wait": { "for": "1m" } }]);
        let good = json!({ "targets": { "web": { "pods": {} } }, "steps": steps });
        assert_eq!(mistakes(&serde_json::from_value(good).unwrap(), &BTreeMap::new()), []);
    }

    #[test]
    fn the_mistake_of_a_probe_is_its_own_and_hides_no_other() {
        let probe = |name: &str, url: &str| json!({ "name": name, "http": { "url": url } });
        let check = json!({ "name": "c", "check": { "probes": ["web", "db"], "for": "1m" } });
        let spec = serde_json::from_value(json!({
            "probes": [probe("web", "http://$(host)"), probe("api", "http://x"), probe("api", "http://y"),
                       { "name": "hit", "ledger": { "step": "b" }, "expect": "injected > 10" }],
            "steps": [{ "name": "a", "if": "probes.", "wait": { "for": "1s" } }, check],
        }))
        .unwrap();
        let found = mistakes(&spec, &BTreeMap::new());
        let parts: Vec<&Part> = found.iter().map(|mistake| &mistake.part).collect();
        let expected =
            [Part::Probe(0), Part::Probe(2), Part::Probe(3), Part::Step(0), Part::Step(1)];
        assert_eq!(parts, expected.iter().collect::<Vec<_>>(), "{found:#?}");
        let messages: Vec<String> = found.iter().map(|mistake| mistake.error.to_string()).collect();
        assert!(messages[0].starts_with("probe web: `$(host)` is no parameter"), "{messages:?}");
        assert!(messages[4].contains("check: db is no probe"), "{messages:?}");
    }

    #[test]
    fn the_mistake_of_a_peer_is_its_own_and_hides_no_other() {
        let step = |name: &str, text: &str| json!({ "name": name, "fault": { "target": "web", "do": text, "for": "1m" } });
        let spec = serde_json::from_value(json!({
            "targets": { "web": { "pods": {} } },
            "peers": { "out": { "cidr": ["10.0.0.1/8"] } },
            "steps": [step("a", "drop to @out"), step("b", "drop to @db")],
        }))
        .unwrap();
        let found = mistakes(&spec, &BTreeMap::new());
        let parts: Vec<&Part> = found.iter().map(|mistake| &mistake.part).collect();
        assert_eq!(parts, [&Part::Peer("out".to_owned()), &Part::Step(1)]);
        let messages: Vec<String> = found.iter().map(|mistake| mistake.error.to_string()).collect();
        assert!(messages[0].starts_with("peer out: cidr: `10.0.0.1/8`"), "{messages:?}");
        assert!(messages[1].starts_with("step b: `@db` is no peer"), "{messages:?}");
    }
}
