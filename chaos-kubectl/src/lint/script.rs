//! Checks what the controller reads of an experiment: sentences, expressions, parameters, with their places.

use std::{collections::BTreeMap, ops::Range};

use chaos_api::kinds::{ExperimentSpec, Limits, Peer, Probe, ProbesFrom, Step, Target};
use chaos_controller::{Filled, Part, ProbeError, ScriptError, SpecMistake, mistakes};
use chaos_fault::closest;
use serde_json::{Value, json};

use super::{Document, Kind, Mistake, places, places::Path, schema::Finding};

/// What the controller would refuse of a document. What stands at a path of `said` has been told already.
pub fn check(document: &Document, said: &[Path]) -> Vec<Mistake> {
    let given = params(&document.object["spec"]["params"]);
    let (prefix, spec, given) = match document.kind {
        Kind::Experiment => (path(&["spec"]), &document.object["spec"], BTreeMap::new()),
        Kind::Run => (path(&["spec", "inline"]), &document.object["spec"]["inline"], given),
    };
    if !spec.is_object() {
        return Vec::new();
    }
    let (sound, mut found) = match serde_json::from_value(spec.clone()) {
        Ok(spec) => (spec, Vec::new()),
        Err(_) => {
            let (sound, left_out) = sound(spec);
            let Ok(sound) = serde_json::from_value(sound) else { return Vec::new() };
            (sound, unread(document, &prefix, spec, &given, &left_out))
        }
    };
    for mistake in mistakes(&sound, &given) {
        found.extend(place(document, &prefix, &sound, &given, &mistake, said));
    }
    found
}

/// Rules of the definitions, and what the controller says of the same mistake, with its place.
const SAME: [(&str, &str); 4] = [
    ("a fault's target must be one of the experiment's targets", " is not there"),
    ("the target of pods must be one of the experiment's targets", " is not there"),
    ("names of probes must differ", "names of probes must differ"),
    ("the probes of a check must be probes of the experiment", " is no probe of the experiment"),
];

/// Whether one of these mistakes is the one that a rule is about.
pub fn tells(mistakes: &[Mistake], rule: &str) -> bool {
    let same = SAME.iter().filter(|(about, _)| *about == rule);
    same.into_iter().any(|(_, said)| mistakes.iter().any(|one| one.message.contains(said)))
}

/// An experiment without the parts that cannot be read, and the indices of the steps that are not there: so that a
/// mistake in one part does not hide those of the others.
fn sound(spec: &Value) -> (Value, Vec<usize>) {
    let mut sound = json!({ "targets": {}, "steps": [] });
    for (name, peer) in spec["peers"].as_object().into_iter().flatten() {
        let is_sound = serde_json::from_value::<Peer>(peer.clone()).is_ok();
        sound["peers"][name] = if is_sound { peer.clone() } else { json!({}) };
    }
    for (name, target) in spec["targets"].as_object().into_iter().flatten() {
        let is_sound = serde_json::from_value::<Target>(target.clone()).is_ok();
        sound["targets"][name] = if is_sound { target.clone() } else { json!({ "pods": {} }) };
    }
    let list = |field: &str| spec[field].as_array().into_iter().flatten().cloned();
    let is_probe = |probe: &Value| serde_json::from_value::<Probe>(probe.clone()).is_ok();
    let is_library = |from: &Value| serde_json::from_value::<ProbesFrom>(from.clone()).is_ok();
    let mut libraries: Vec<Value> = list("probesFrom").filter(is_library).collect();
    if list("probes").all(|probe| is_probe(&probe)) {
        sound["probes"] = list("probes").collect();
    } else {
        // Steps may name probes that cannot be read.
        libraries.push(json!({ "experiment": "unread" }));
    }
    sound["probesFrom"] = libraries.into();
    if serde_json::from_value::<Limits>(spec["limits"].clone()).is_ok() {
        sound["limits"] = spec["limits"].clone();
    }
    for (name, value) in params(&spec["params"]) {
        sound["params"][name] = json!(value);
    }
    let mut left_out = Vec::new();
    let steps = spec["steps"].as_array().into_iter().flatten().enumerate().map(|(index, step)| {
        if serde_json::from_value::<Step>(step.clone()).is_ok() {
            return step.clone();
        }
        left_out.push(index);
        json!({ "name": format!("step-{index}"), "wait": { "for": "1m" } })
    });
    let steps: Vec<Value> = steps.collect();
    sound["steps"] = steps.into();
    (sound, left_out)
}

/// What is wrong with the parameters that Runs give to Experiments of the same file.
pub fn across(documents: &[Document]) -> Vec<Mistake> {
    let mut found = Vec::new();
    for run in documents.iter().filter(|document| document.kind == Kind::Run) {
        let Some(name) = run.object["spec"]["experiment"].as_str() else { continue };
        let is_meant = |one: &&Document| {
            let namespace = |document: &Document| document.object["metadata"]["namespace"].clone();
            one.kind == Kind::Experiment
                && one.object["metadata"]["name"] == name
                && namespace(one) == namespace(run)
        };
        let experiment = documents.iter().find(is_meant);
        let spec = experiment.map(|one| serde_json::from_value(one.object["spec"].clone()));
        let Some(Ok(spec)) = spec else { continue };
        let before = mistakes(&spec, &BTreeMap::new());
        let given = params(&run.object["spec"]["params"]);
        for mistake in mistakes(&spec, &given).into_iter().filter(|one| !before.contains(one)) {
            let mut at = path(&["spec", "params"]);
            let mut help = None;
            if let ScriptError::UnknownParam(name) = &mistake.error {
                at.push(name.clone());
                help = near(name, &spec);
            }
            let message = mistake.error.to_string();
            found.push(run.placed(Finding { path: at, on_key: true, message, help }));
        }
    }
    found
}

/// The sentences of steps that cannot be read as a whole.
fn unread(
    document: &Document,
    prefix: &Path,
    spec: &Value,
    given: &BTreeMap<String, String>,
    left_out: &[usize],
) -> Vec<Mistake> {
    let mut values = params(&spec["params"]);
    values.extend(given.clone());
    let steps = spec["steps"].as_array().into_iter().flatten().enumerate();
    steps
        .filter(|(index, _)| left_out.contains(index))
        .filter_map(|(index, step)| Some((index, step["fault"]["do"].as_str()?)))
        .flat_map(|(index, text)| sentences(document, &of_step(prefix, index, "do"), text, &values))
        .collect()
}

/// A mistake with its place, or the places of each mistake of its sentences.
fn place(
    document: &Document,
    prefix: &Path,
    spec: &ExperimentSpec,
    given: &BTreeMap<String, String>,
    mistake: &SpecMistake,
    said: &[Path],
) -> Vec<Mistake> {
    let SpecMistake { part, error } = mistake;
    let step = match part {
        Part::Step(index) => spec.steps.get(*index).map(|step| (*index, step)),
        Part::Whole
        | Part::Param(_)
        | Part::Target(_)
        | Part::Peer(_)
        | Part::Probe(_)
        | Part::Limits => None,
    };
    let text = step.and_then(|(_, step)| step.fault.as_ref()).map(|fault| &fault.sentences);
    if let (ScriptError::Sentences { .. }, Some((index, _)), Some(text)) = (error, step, text) {
        let values = spec.params.iter().map(|(name, value)| (name.clone(), value.0.clone()));
        let mut values: BTreeMap<String, String> = values.collect();
        values.extend(given.clone());
        return sentences(document, &of_step(prefix, index, "do"), text, &values);
    }
    let mut at = prefix.clone();
    let mut help = None;
    match part {
        Part::Whole => {}
        Part::Param(name) => {
            at = path(&["spec", "params", name]);
            help = near(name, spec);
        }
        Part::Target(name) => {
            at.extend(path(&["targets", name]));
            if let ScriptError::Where { .. } = error {
                at.push("where".to_owned());
            }
            if let ScriptError::Pick { .. } = error {
                at.push("pick".to_owned());
            }
        }
        Part::Peer(name) => at.extend(path(&["peers", name, "cidr"])),
        Part::Probe(index) => {
            at.extend(path(&["probes", &index.to_string()]));
            at.extend(probe_field(error).map(str::to_owned));
        }
        Part::Step(index) => {
            let field = field(error);
            at = of_step(prefix, *index, field);
            if let (Some((_, step)), "for") = (step, field) {
                let kind = match (&step.fault, &step.check) {
                    (Some(_), _) => "fault",
                    (None, Some(_)) => "check",
                    (None, None) => "wait",
                };
                at = of_step(prefix, *index, "");
                at.extend(path(&[kind, "for"]));
            }
        }
        Part::Limits => at.push("limits".to_owned()),
    }
    if said.contains(&at) {
        return Vec::new();
    }
    let on_key = matches!(part, Part::Param(_));
    let mut placed =
        document.placed(Finding { path: at.clone(), on_key, message: error.to_string(), help });
    // The step and the target are named by the message.
    placed.message = error.to_string();
    if let (ScriptError::Param { name, .. }, Some(text)) = (error, text) {
        let whole = format!("$({name})");
        if let Some(start) = text.find(&whole) {
            placed.span = span_within(document, &at, text, start..start + whole.len());
        }
    }
    vec![placed]
}

/// The field of a probe that an error is about, where it has one.
fn probe_field(error: &ScriptError) -> Option<&'static str> {
    let ScriptError::Probing(error) = error else { return None };
    match error {
        ProbeError::Duration { field, .. } => Some(field),
        ProbeError::Twice(_) => Some("name"),
        ProbeError::Mistake { mistake, .. } => mistake.starts_with("expect").then_some("expect"),
        ProbeError::Param { .. }
        | ProbeError::Given { .. }
        | ProbeError::TooLong { .. }
        | ProbeError::Step { .. } => None,
    }
}

/// The field of a step that an error is about; empty for the step itself.
fn field(error: &ScriptError) -> &'static str {
    if let ScriptError::Target { .. } = error {
        return "target";
    }
    if let ScriptError::Duration { field, .. } | ScriptError::Unjudged { field, .. } = error {
        return field;
    }
    if let ScriptError::Condition { .. } | ScriptError::Unseen { .. } = error {
        return "if";
    }
    if let ScriptError::Impatient { .. } = error {
        return "timeout";
    }
    let is_of_sentences = matches!(
        error,
        ScriptError::Sentences { .. }
            | ScriptError::Empty { .. }
            | ScriptError::Clause { .. }
            | ScriptError::Param { .. }
            | ScriptError::Value { .. }
            | ScriptError::Peer { .. }
    );
    if is_of_sentences { "do" } else { "" }
}

fn of_step(prefix: &Path, index: usize, field: &str) -> Path {
    let mut at = prefix.clone();
    at.extend(path(&["steps", &index.to_string()]));
    match field {
        "" => {}
        "timeout" | "if" | "check" => at.push(field.to_owned()),
        field => at.extend(path(&["fault", field])),
    }
    at
}

/// Each mistake of sentences, where it stands in the file.
fn sentences(
    document: &Document,
    at: &Path,
    text: &str,
    values: &BTreeMap<String, String>,
) -> Vec<Mistake> {
    let values = values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let Ok(filled) = Filled::of(text, &values) else { return Vec::new() };
    let Err(errors) = chaos_fault::parse(&filled.text) else { return Vec::new() };
    errors
        .iter()
        .map(|error| {
            let span = span_within(document, at, text, filled.origin(error.span.clone()));
            Mistake { message: error.message.clone(), help: error.help.clone(), span }
        })
        .collect()
}

fn span_within(document: &Document, at: &Path, text: &str, part: Range<usize>) -> Range<usize> {
    match places::node(&document.root, at) {
        Some(node) => places::within(&document.file, node, text, part),
        None => places::value(&document.root, at),
    }
}

fn near(name: &str, spec: &ExperimentSpec) -> Option<String> {
    let names: Vec<&str> = spec.params.keys().map(String::as_str).collect();
    match closest(name, names.iter().copied()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if names.is_empty() => Some("the experiment has no `params`".to_owned()),
        None => Some(format!("there are {}", names.join(", "))),
    }
}

fn params(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

fn path(parts: &[&str]) -> Path {
    parts.iter().map(|part| (*part).to_owned()).collect()
}
