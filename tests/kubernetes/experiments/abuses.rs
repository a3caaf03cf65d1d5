//! Objects that are made to hang, crash or mislead the controller: each is refused with its reason, nothing is broken, and
//! the controller goes on.

use anyhow::{Context, Result, ensure};
use chaos_api::kinds::{Reason, RunPhase};
use chaos_ebpf_common::hash;
use chaos_kube::FAULTS;
use kube::{
    Api, Error, ResourceExt as _,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Map, Value, json};

use super::scene::{SHOP, Scene, one_step};

const SEED: u64 = 20_261_130;
const FUZZED: u64 = 500;

/// Whoever refuses an object, and what is said.
enum By {
    Server(&'static str),
    Controller(&'static str),
}
use By::{Controller, Server};

/// Makes a run of whatever is given; the API server's answer.
fn make(scene: &Scene, name: &str, spec: &Value) -> Result<(), String> {
    let kind = GroupVersionKind::gvk("chaos-agent.dev", "v1alpha1", "Run");
    let kind = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(scene.admin.clone(), SHOP, &kind);
    let mut object = DynamicObject::new(name, &kind);
    object.data = json!({ "spec": { "inline": spec } });
    match scene.runtime.block_on(api.create(&PostParams::default(), &object)) {
        Ok(_) => Ok(()),
        Err(Error::Api(status)) => Err(status.message.clone()),
        Err(other) => Err(other.to_string()),
    }
}

/// Who refuses a run with this in the place of what is there, by a JSON pointer into its spec.
fn rows() -> Vec<(&'static str, &'static str, Value, By)> {
    let (target, step) = ("/targets/web", "/steps/0/fault/do");
    let containers = "pod.spec.containers";
    let each_of_each = format!("{containers}.all(a, {containers}.all(b, a.name != b.name))");
    let slow_pattern = format!("{containers}.all(a, 'x'.matches('(\\\\w{{99}}){{99}}'))");
    let with = |field: &str, value: Value| {
        let mut target = json!({ "pods": { "matchLabels": { "app": "web" } } });
        target[field] = value;
        target
    };
    let where_ = |text: &str| with("where", json!(text));
    vec![
        ("loops", target, where_(&each_of_each), Controller("loop")),
        ("pattern", target, where_(&slow_pattern), Controller("matches")),
        ("deep", target, where_(&"!".repeat(900)), Controller("nested")),
        ("object", target, where_("Pod{a: 1} == Pod{a: 1}"), Controller("Pod")),
        ("unknown", target, where_("pods.exists(p, true)"), Controller("`pods` is not known")),
        ("long", target, where_(&" ".repeat(2000)), Server("1024")),
        ("kube-system", target, with("namespaces", json!(["kube-system"])), Server("namespaces")),
        ("brackets", step, json!("(".repeat(1000)), Controller("is not a verb")),
        ("control", step, json!("drop\u{1b}[2J egress"), Controller("drop")),
        ("peers", step, json!("drop egress to @nobody"), Controller("nobody")),
        ("time", step, json!("drop egress for 9h"), Controller("for")),
        ("huge", step, json!("drop ".repeat(2_000_000)), Server("too large")),
        ("steps", "/steps", json!(vec![0; 17]), Server("steps")),
    ]
}

fn changed(pointer: &str, value: Value) -> Result<Value> {
    let mut spec = one_step(json!("all"), "1m");
    *spec.pointer_mut(pointer).context(pointer.to_owned())? = value;
    Ok(spec)
}

#[test]
fn what_is_made_to_hang_crash_or_mislead_is_refused_by_name() -> Result<()> {
    let scene = Scene::set()?;
    let _controller = scene.controller("a")?;
    for (name, pointer, value, by) in rows() {
        let answer = make(&scene, name, &changed(pointer, value)?);
        match by {
            Server(expected) => {
                let refused = answer.err().with_context(|| format!("{name} was accepted"))?;
                ensure!(refused.contains(expected), "{name}: {refused}");
            }
            Controller(expected) => {
                ensure!(answer.is_ok(), "{name}: {answer:?}");
                let status = scene.await_end(name)?;
                ensure!(status.reason == Some(Reason::Refused), "{name}: {status:?}");
                ensure!(status.message.contains(expected), "{name}: {}", status.message);
                let is_plain = |c: char| !c.is_control() || c == '\n';
                ensure!(status.message.chars().all(is_plain), "{name}: {:?}", status.message);
            }
        }
    }
    forged_text_stays_and_is_told(&scene)?;
    fuzzed_objects_break_nothing(&scene)?;
    // After all that it works.
    scene.run("after", json!({ "inline": one_step(json!(1), "1m") }))?;
    scene.await_run("after", |status| status.targets.armed == 1)?;
    Ok(())
}

/// A text that somebody writes as if it were the controller's is somebody's: it is neither counted nor taken away.
fn forged_text_stays_and_is_told(scene: &Scene) -> Result<()> {
    let run = scene.run("live", json!({ "inline": one_step(json!("50%"), "5m") }))?;
    let texts = scene.await_texts(2)?;
    let (holder, genuine) = texts.first_key_value().context("two pods are broken")?;
    let free = (0..4)
        .map(|number| format!("web-{number}"))
        .find(|name| !texts.contains_key(name))
        .context("two pods are not broken")?;
    ensure!(genuine.contains(&run.uid().unwrap_or_default()), "{holder}: {genuine}");
    let forged = format!("{FAULTS}={genuine}");
    scene.plane.kubectl(&["annotate", "pod", &free, "--namespace", SHOP, &forged])?;
    scene.halt("live")?;
    scene.await_end("live")?;
    let left = scene.await_texts(1)?;
    ensure!(left.keys().eq([&free]), "{left:?}");
    scene.plane.kubectl(&["annotate", "pod", &free, "--namespace", SHOP, &format!("{FAULTS}-")])?;
    scene.await_texts(0)?;
    Ok(())
}

/// Values that were not thought of.
fn hostile(number: u64) -> Value {
    match number % 14 {
        0 => Value::Null,
        1 => json!(-1),
        2 => json!(u64::MAX),
        3 => json!(0.1),
        4 => json!(""),
        5 => json!("\u{0}"),
        6 => json!("$(x)$($(x))"),
        7 => json!("\u{202e}%s%n\u{7f}"),
        8 => json!("x".repeat(300)),
        9 => json!([]),
        10 => json!({}),
        11 => json!([[[[{}]]]]),
        12 => json!("9223372036854775807h"),
        _ => json!(true),
    }
}

/// Every place of a value, as JSON pointers.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| places(field, &format!("{at}/{name}"), all));
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| places(item, &format!("{at}/{index}"), all));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// One that has everything, and a sentence that nobody can read.
fn full() -> Value {
    json!({
        "params": { "x": "1" },
        "targets": { "web": {
            "pods": { "matchLabels": { "app": "web" },
                      "matchExpressions": [{ "key": "app", "operator": "In", "values": ["web"] }] },
            "where": "age > duration('1s')", "pick": "50%", "replaced": "Drop", "containers": ["main"] } },
        "peers": { "out": { "cidr": ["192.0.2.0/24"] } },
        "limits": { "targets": 4, "share": "50%", "nodes": 2, "minReady": 1 },
        "steps": [{ "name": "slow", "timeout": "5s", "onError": "Continue",
                    "fault": { "target": "web", "do": "break $(x) of everything", "for": "5s" } },
                  { "name": "pause", "wait": { "for": "1s" } }],
    })
}

fn fuzzed_objects_break_nothing(scene: &Scene) -> Result<()> {
    let mut all = Vec::new();
    places(&full(), "", &mut all);
    let mut accepted = Vec::new();
    for number in 0..FUZZED {
        let mut spec = full();
        for change in 0..=hash::nth(SEED, number) % 2 {
            let die = hash::nth(SEED, (number << 8) + change);
            let place = &all[(die % all.len() as u64) as usize];
            // The change before may have taken the place away.
            if let Some(at) = spec.pointer_mut(place) {
                *at = hostile(die >> 32);
            }
        }
        let name = format!("fuzzed-{number}");
        let spec = if spec.is_object() { spec } else { Value::Object(Map::new()) };
        if make(scene, &name, &spec).is_ok() {
            accepted.push(name);
        }
    }
    ensure!(accepted.len() > 10, "the API server has refused nearly all: {accepted:?}");
    for name in &accepted {
        let status = scene.await_run(name, |status| status.phase == RunPhase::Finished)?;
        ensure!(status.reason == Some(Reason::Refused), "{name}: {status:?}");
    }
    println!("{} of {FUZZED} objects reached the controller", accepted.len());
    ensure!(scene.texts()?.is_empty(), "{:?}", scene.texts()?);
    Ok(())
}
