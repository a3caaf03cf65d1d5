//! The agent on a real Kubernetes node, which `cargo xtask test --node` makes ready: its manifests
//! as they are, pods of Deployments broken by annotation and looked at from inside.
//!
//! Booting takes longer than the tests, so all of them share one node.

mod capabilities;
mod chart;
mod experiments;
mod faults;
mod names;
mod recovery;
mod scene;
mod seccomp;

use std::{
    env,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result};
use chaos_tests::node::Node;
use libtest_mimic::{Arguments, Completion, Trial};
use scene::Scene;
use xtask::node::{END_VARIABLE, NodeKit};

/// A test that may say why it does nothing.
type Test = fn(&Scene) -> Result<Completion>;

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    // They change what the others look at.
    arguments.test_threads = Some(1);
    let tests = [
        faults::TESTS,
        recovery::TESTS,
        seccomp::TESTS,
        capabilities::TESTS,
        names::TESTS,
        experiments::TESTS,
        // It leaves no agent.
        chart::TESTS,
    ]
    .concat();
    let end = end()?;
    let is_over = move || end.is_some_and(|end| SystemTime::now() >= end);
    // A list needs no node.
    let scene = if arguments.list || is_over() { None } else { Some(Arc::new(set()?)) };
    let trials = tests.into_iter().map(|(name, test): (&str, Test)| {
        let scene = scene.clone();
        Trial::ignorable_test(name, move || {
            if is_over() {
                return Ok(Completion::ignored_with("the time for tests of this change is over"));
            }
            let scene = scene.context("a list runs no test")?;
            test(&scene).map_err(|error| format!("{error:?}").into())
        })
    });
    let trials = trials.collect();
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

/// From when on no test is begun.
fn end() -> Result<Option<SystemTime>> {
    let Ok(text) = env::var(END_VARIABLE) else { return Ok(None) };
    let seconds = text.parse().with_context(|| format!("{END_VARIABLE}={text}: no number"))?;
    Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
}

/// What a test that takes minutes says where none is begun after some time: `./x ci` without `--all`.
fn leave_out_what_takes_minutes() -> Option<Completion> {
    let why = "it takes minutes: `./x test --node` and `./x ci --all` run it";
    env::var_os(END_VARIABLE).map(|_| Completion::ignored_with(why))
}

fn set() -> Result<Scene> {
    let start = Instant::now();
    let node = Arc::new(Node::start(&NodeKit::from_environment()?)?);
    eprintln!("{}: ready after {:.1} s", node.kernel(), start.elapsed().as_secs_f64());
    node.deploy_agent()?;
    eprintln!("the agent: ready after {:.1} s", start.elapsed().as_secs_f64());
    let scene = Scene::set(node)?;
    eprintln!("the pods: ready after {:.1} s", start.elapsed().as_secs_f64());
    Ok(scene)
}
