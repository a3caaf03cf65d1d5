//! Symbolic links in the path of a rule: followed as the target sees them, and again when they change.

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_plan::Backend;
use chaos_tests::{
    cgroup::TestCgroup,
    machine::Shared,
    process::{Place, Process},
    program, require,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    agent::{Agent, answers, features},
    copies::{require_paths, support},
    seccomp::Ran,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with two others in it, `a` and `b`, and a link to the first, `link`.
struct Scene {
    directory: TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let scene = Self { directory: TempDir::new()? };
        for name in ["a", "b"] {
            fs::create_dir(scene.at(name)?)?;
            fs::write(scene.at(name)?.join("file"), "x\n")?;
        }
        scene.point_to("a")?;
        Ok(scene)
    }

    fn at(&self, name: &str) -> Result<PathBuf> {
        Ok(fs::canonicalize(self.directory.path())?.join(name))
    }

    /// Replaces the link.
    fn point_to(&self, name: &str) -> Result<()> {
        let new = self.at("new")?;
        symlink(name, &new)?;
        fs::rename(&new, self.at("link")?).context("replace the link")
    }

    fn fault(&self, path: &str) -> Result<String> {
        Ok(format!("fail read with EIO under {}", self.at(path)?.display()))
    }

    /// What a script prints that is run under a fault, and how many calls that hit.
    fn run(&self, path: &str, script: &str) -> Result<(String, u64)> {
        let script = format!("cd {} && {script}", self.at("")?.display());
        let ran = Ran::under(&self.fault(path)?, &[], &["sh", "-c", &*script])?;
        let (matched, injected) = ran.counts(0);
        assert_eq!(matched, injected, "{script}");
        Ok((ran.lines.join(" "), injected))
    }
}

#[test]
fn a_rules_path_is_followed_through_links() -> Result<()> {
    require_paths!();
    let _machine = Shared::acquire()?;
    let scene = Scene::new()?;
    symlink("../a", scene.at("b")?.join("up"))?;
    symlink("link", scene.at("twice")?)?;
    for (path, script, hits) in [
        ("link", "cat link/file", 1),
        ("link", "cat a/file", 1),
        ("link", "cat b/file", 0),
        ("link/file", "cat a/file", 1),
        ("twice", "cat a/file", 1),
        ("b/up", "cat link/file", 1),
        ("a", "cat link/file", 1),
    ] {
        let (printed, found) = scene.run(path, script)?;
        assert_eq!((found, printed == "x"), (hits, hits == 0), "under {path}: {script}");
    }
    Ok(())
}

/// `/var/run` is a link to `/run` on every distribution.
#[test]
fn var_run_is_run() -> Result<()> {
    require_paths!();
    require!("/var/run as a link"; fs::read_link("/var/run").map(drop));
    let _machine = Shared::acquire()?;
    let directory = TempDir::new_in("/run")?;
    let name = directory.path().file_name().and_then(|name| name.to_str()).context("a name")?;
    let fault = format!("fail write with ENOSPC under /var/run/{name}");
    let script = format!("echo x > /var/run/{name}/file");
    let ran = Ran::under(&fault, &[], &["sh", "-c", &*script])?;
    assert_eq!((ran.code == Some(0), ran.counts(0)), (false, (1, 1)), "{:?}", ran.lines);
    Ok(())
}

/// Calls that a supervisor answers meet the link as it is at that moment.
#[test]
fn by_seccomp_a_link_is_followed_at_each_call() -> Result<()> {
    // Where programs answer, links are followed soon, and not at each call.
    let fault = "fail read with EIO under /tmp/link";
    require!("read by seccomp"; crate::seccomp::comes_to_a_supervisor(fault));
    require!("paths"; support());
    let _machine = Shared::acquire()?;
    let scene = Scene::new()?;
    let script = "cat link/file; ln -sfn b link; cat a/file; cat link/file; \
                  rm link; cat b/file; ln -s a link; cat a/file; cat b/file";
    let (printed, hits) = scene.run("link", script)?;
    assert_eq!((&*printed, hits), ("x x x", 3));
    // A pattern begins behind the link.
    let (printed, hits) = scene.run("link/f*", "cat a/file; cat b/file")?;
    assert_eq!((&*printed, hits), ("x", 1));
    Ok(())
}

/// A target of its own, by programs in the kernel where there are any.
#[test]
fn a_link_that_changes_or_appears_is_followed_soon() -> Result<()> {
    let claim = Shared::acquire()?;
    require!("fmod_ret on security functions"; answers(&claim, Backend::Security));
    let scene = Scene::new()?;
    let cgroup = TestCgroup::new(&claim, "target")?;
    let mut agent = Agent::with_features(features(&claim)?.clone())?;
    // Somebody has to be there who sees the link.
    let _there = in_target(&cgroup, "read wait")?;
    agent.arm(&cgroup, &scene.fault("link")?)?;
    let fails = |name: &str| -> Result<bool> {
        let script = format!("cat {}", scene.at(name)?.join("file").display());
        Ok(!in_target(&cgroup, &script)?.wait(PATIENCE)?.success())
    };
    assert_eq!((fails("link")?, fails("a")?, fails("b")?), (true, true, false));
    scene.point_to("b")?;
    until(&mut agent, || fails("b"))?;
    assert_eq!((fails("link")?, fails("a")?), (true, false));
    fs::remove_file(scene.at("link")?)?;
    until(&mut agent, || fails("b").map(|fails| !fails))?;
    scene.point_to("a")?;
    until(&mut agent, || fails("a"))?;
    // Counts go on.
    let counts = agent.counts(&cgroup, 0)?;
    assert!(counts.injected >= 4 && counts.matched == counts.injected, "{counts:?}");
    Ok(())
}

/// The same where the target sees another link than we do.
#[test]
fn a_link_is_the_targets_own() -> Result<()> {
    let claim = Shared::acquire()?;
    require!("fmod_ret on security functions"; answers(&claim, Backend::Security));
    let scene = Scene::new()?;
    let cgroup = TestCgroup::new(&claim, "target")?;
    let mut agent = Agent::with_features(features(&claim)?.clone())?;
    let root = scene.at("")?.display().to_string();
    let mut process = in_target(
        &cgroup,
        &format!(
            "exec unshare -m sh -c 'cd {root} && mkdir c && mount -t tmpfs none c && ln -s ../b c/way && \
             echo ready; read go; cat b/file; cat a/file; echo done'"
        ),
    )?;
    assert_eq!(process.line(PATIENCE)?, "ready");
    symlink("../a", scene.at("c/way")?)?;
    agent.arm(&cgroup, &scene.fault("c/way")?)?;
    process.write(b"\n")?;
    process.wait(PATIENCE)?;
    let printed: Vec<String> = process.remaining_lines().collect();
    assert_eq!(printed, ["x", "done"], "a file of its own link's is read");
    assert_eq!(agent.counts(&cgroup, 0)?.injected, 1);
    Ok(())
}

fn in_target(cgroup: &TestCgroup, script: &str) -> Result<Process> {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Process::spawn(command, Place::here().cgroup(cgroup))
}

/// Looks after what is armed until something holds.
fn until(agent: &mut Agent, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while !holds()? {
        ensure!(Instant::now() < give_up, "it never holds");
        agent.look()?;
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// `run` says so on standard error, `explain` in its plan.
#[test]
fn a_path_that_is_not_there_is_worth_a_note() -> Result<()> {
    require_paths!();
    let _machine = Shared::acquire()?;
    let scene = Scene::new()?;
    for (path, expected) in [
        ("nowhere", Some(format!("there is no {} now", scene.at("nowhere")?.display()))),
        ("link", Some(format!("leads to {}", scene.at("a")?.display()))),
        ("a", None),
    ] {
        let fault = scene.fault(path)?;
        let run = Command::new(program::agent()?)
            .args(["run", "--fault", &fault, "--", "true"])
            .output()?;
        let explain = Command::new(program::agent()?)
            .args(["explain", "--output", "json", "--fault", &fault])
            .output()?;
        let plan: Value = serde_json::from_slice(&explain.stdout)?;
        let notes = plan["rules"][0]["notes"].to_string();
        let run = String::from_utf8_lossy(&run.stderr);
        let about = format!("under {}: ", scene.at(path)?.display());
        for said in [&*notes, &*run] {
            match &expected {
                Some(text) => assert!(said.contains(text), "{said}"),
                None => {
                    assert!(!said.contains("there is no") && !said.contains("leads to"), "{said}")
                }
            }
        }
        assert_eq!(run.contains(&about), expected.is_some(), "{run}");
    }
    Ok(())
}
