//! Random events on a real API server, from a seed: pods, runs, people and controllers in any order. After each of them
//! nothing is broken that may not be.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_api::kinds::{Run, RunPhase};
use chaos_ebpf_common::hash;
use chaos_kube::{FAULTS, FEATURES, GUARD, HALT};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use super::scene::{Controller, LEASE, NODES, Scene, agent_of};

/// So many, if `CHAOS_EVENTS` does not say otherwise.
const EVENTS: usize = 300;
const SEED: u64 = 20_261_129;

/// No run has more pods.
const PICK: usize = 2;

/// Between two events: controllers need a second or two to act.
const PAUSE: Duration = Duration::from_millis(150);

/// How long after its end a text may stand on a pod: controllers are being killed.
const GRACE: Duration = Duration::from_secs(30);

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    /// One below this.
    fn below(&mut self, end: u64) -> u64 {
        self.0 += 1;
        hash::nth(SEED, self.0) % end
    }
}

/// What the test does beside what the controllers do.
struct Player<'a> {
    scene: &'a Scene,
    dice: Dice,
    controllers: Vec<Controller>,
    made: usize,
    /// Pods that somebody has annotated, with what.
    taken: BTreeMap<String, String>,
    /// Runs that were seen to have ended, by UID.
    over: BTreeSet<String>,
    met: BTreeMap<&'static str, usize>,
}

impl Player<'_> {
    fn pick<'x, T>(&mut self, of: &'x [T]) -> Option<&'x T> {
        if of.is_empty() { None } else { of.get(self.dice.below(of.len() as u64) as usize) }
    }

    fn pods(&self) -> Result<Vec<Pod>> {
        let api = self.scene.pods();
        Ok(self.scene.runtime.block_on(api.list(&ListParams::default()))?.items)
    }

    fn runs(&self) -> Result<Vec<Run>> {
        let api = self.scene.runs();
        Ok(self.scene.runtime.block_on(api.list(&ListParams::default()))?.items)
    }

    fn merge(&self, pod: &str, change: Value) -> Result<()> {
        let patch = Patch::Merge(change);
        let params =
            PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        match self.scene.runtime.block_on(self.scene.pods().patch(pod, &params, &patch)) {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(Into::into),
        }
    }

    /// Halts the cluster for a reason, or lifts that.
    fn pull(&self, reason: &Value) -> Result<String> {
        let change = json!({ "metadata": { "annotations": { HALT: reason } } }).to_string();
        let lease = ["patch", "lease", GUARD, "--namespace=chaos-agent"];
        self.scene.plane.kubectl(&[&lease[..], &["--type=merge", "--patch", &change]].concat())
    }

    /// Something happens to the agent of a node.
    fn agent(&mut self, node: &str) -> Result<&'static str> {
        let plane = &self.scene.plane;
        let name = format!("agent-{node}");
        let agent = ["pod", &name, "--namespace=chaos-agent"];
        Ok(match self.dice.below(3) {
            0 => {
                let gone = ["--ignore-not-found", "--force", "--grace-period=0"];
                plane.kubectl(&[&["delete"], &agent[..], &gone].concat())?;
                "a node has no agent any more"
            }
            1 => {
                agent_of(plane, node)?;
                // A version from before agents said what their kernels can do.
                plane.kubectl(&[&["annotate"], &agent[..], &[&format!("{FEATURES}-")]].concat())?;
                "an agent is an older one"
            }
            _ => {
                agent_of(plane, node)?;
                "an agent is there"
            }
        })
    }

    /// One event; what it was.
    fn event(&mut self) -> Result<&'static str> {
        let names: Vec<String> = self.pods()?.iter().map(Pod::name_any).collect();
        let runs: Vec<String> = self.runs()?.iter().map(Run::name_any).collect();
        self.made += 1;
        Ok(match self.dice.below(20) {
            0..=3 if names.len() < 8 => {
                let node = if self.made.is_multiple_of(2) { "node-a" } else { "node-b" };
                self.scene.pod(&format!("web-{}", self.made), node)?;
                "a pod comes"
            }
            4 | 5 if names.len() > 3 => {
                let Some(name) = self.pick(&names).cloned() else { return Ok("nothing") };
                self.scene.delete_pod(&name)?;
                self.taken.remove(&name);
                "a pod goes"
            }
            6 => {
                let Some(name) = self.pick(&names).cloned() else { return Ok("nothing") };
                let app = if self.dice.below(2) == 0 { "web" } else { "other" };
                self.merge(&name, json!({ "metadata": { "labels": { "app": app } } }))?;
                "a label changes"
            }
            7 => {
                let Some(name) = self.pick(&names).cloned() else { return Ok("nothing") };
                let text = format!("drop 1% egress # {}", self.made);
                self.merge(&name, json!({ "metadata": { "annotations": { FAULTS: text } } }))?;
                self.taken.insert(name, text);
                "somebody takes a pod"
            }
            8 => {
                let Some(name) = self.taken.keys().next().cloned() else { return Ok("nothing") };
                self.merge(&name, json!({ "metadata": { "annotations": { FAULTS: null } } }))?;
                self.taken.remove(&name);
                "somebody gives a pod back"
            }
            9..=12 => {
                let spec = json!({
                    "targets": { "web": { "pods": { "matchLabels": { "app": "web" } }, "pick": PICK,
                                          "replaced": if self.dice.below(2) == 0 { "Follow" } else { "Drop" } } },
                    "limits": { "targets": PICK },
                    "steps": [{ "name": "slow", "onError": "Continue",
                                "fault": { "target": "web", "do": "drop egress tcp", "for": "6s" } }],
                });
                self.scene.run(&format!("run-{}", self.made), json!({ "inline": spec }))?;
                "a run is made"
            }
            13 => {
                let Some(run) = self.pick(&runs).cloned() else { return Ok("nothing") };
                self.scene.halt(&run)?;
                "a run is halted"
            }
            14 => {
                let Some(run) = self.pick(&runs).cloned() else { return Ok("nothing") };
                let now = DeleteParams::default();
                self.scene.runtime.block_on(self.scene.runs().delete(&run, &now))?;
                "a run is deleted"
            }
            15 if self.dice.below(2) == 0 => {
                let controller = self.controllers.remove(0);
                controller.kill()?;
                self.controllers.push(self.scene.controller(&format!("c{}", self.made))?);
                "a controller is killed"
            }
            16 if self.dice.below(3) == 0 => {
                // The Lease of the tests' controllers is shorter.
                let [_, server] = self.scene.plane.pids();
                kill(server, Signal::SIGSTOP)?;
                sleep(LEASE + Duration::from_secs(1));
                kill(server, Signal::SIGCONT)?;
                "the API server hangs"
            }
            17 => {
                let reason = if self.dice.below(2) == 0 { json!("a test") } else { Value::Null };
                // There may be no Lease yet.
                drop(self.pull(&reason));
                "the lever"
            }
            18 => {
                let node = *self.pick(&NODES).context("there are nodes")?;
                self.agent(node)?
            }
            _ => {
                self.scene.answer()?;
                "agents answer"
            }
        })
    }

    /// Whether everything is as it may be.
    fn check(&mut self) -> Result<()> {
        let runs = self.runs()?;
        let pods = self.pods()?;
        let ours = |pod: &Pod| {
            let text = pod.annotations().get(FAULTS)?;
            Some((holder(text)?, text.clone()))
        };
        let mut held: BTreeMap<String, usize> = BTreeMap::new();
        for pod in &pods {
            if let Some(text) = self.taken.get(&pod.name_any()) {
                let there = pod.annotations().get(FAULTS);
                ensure!(there == Some(text), "{}: {there:?} in place of {text}", pod.name_any());
            }
            let Some((run, text)) = ours(pod) else { continue };
            *held.entry(run.clone()).or_default() += 1;
            ensure!(!self.over.contains(&run), "a run that is over has {}: {text}", pod.name_any());
        }
        for (run, count) in &held {
            ensure!(*count <= PICK, "{count} pods have the text of {run}");
        }
        // A text may go a moment after the phase was read, and never comes back.
        for run in runs {
            let is_over =
                run.status.as_ref().is_some_and(|status| status.phase == RunPhase::Finished);
            let uid = run.uid().unwrap_or_default();
            if is_over && !held.contains_key(&uid) {
                self.over.insert(uid);
            }
        }
        Ok(())
    }

    /// Whether nothing is left when all runs are over.
    fn settle(&mut self) -> Result<()> {
        self.pull(&Value::Null)?;
        let begun = Instant::now();
        self.scene.await_that("the end of all runs", || {
            self.scene.answer()?;
            let texts = self.scene.texts()?;
            let is_done = |run: &Run| {
                run.status.as_ref().is_some_and(|status| status.phase == RunPhase::Finished)
            };
            let open: Vec<String> =
                self.runs()?.iter().filter(|run| !is_done(run)).map(Run::name_any).collect();
            Ok(if texts.is_empty() && open.is_empty() { Ok(()) } else { Err((open, texts)) })
        })?;
        ensure!(begun.elapsed() < GRACE + LONGEST, "it took {:?}", begun.elapsed());
        Ok(())
    }
}

/// Of a run.
const LONGEST: Duration = Duration::from_secs(30);

/// The UID of the run whose text it is.
fn holder(text: &str) -> Option<String> {
    let (_, rest) = text.strip_prefix("# Run ")?.split_once(" (")?;
    Some(rest.split_once(')')?.0.to_owned())
}

#[test]
fn whatever_happens_no_more_is_broken_than_was_asked_for() -> Result<()> {
    let scene = Scene::set()?;
    let controllers = vec![scene.controller("one")?, scene.controller("two")?];
    let events = std::env::var("CHAOS_EVENTS").ok().and_then(|text| text.parse().ok());
    let mut player = Player {
        scene: &scene,
        dice: Dice(0),
        controllers,
        made: 100,
        taken: BTreeMap::new(),
        over: BTreeSet::new(),
        met: BTreeMap::new(),
    };
    for number in 0..events.unwrap_or(EVENTS) {
        let event = player.event().with_context(|| format!("event {number} of seed {SEED}"))?;
        *player.met.entry(event).or_default() += 1;
        sleep(PAUSE);
        player.check().with_context(|| format!("after event {number}, {event}, of seed {SEED}"))?;
    }
    player.settle()?;
    println!("{:?}; {} runs ended", player.met, player.over.len());
    ensure!(player.over.len() > 10, "too few runs have ended: {:?}", player.met);
    Ok(())
}
