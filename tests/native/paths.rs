//! `under PATH` by programs in the kernel.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use chaos_plan::{Backend, Terms, plan};
use chaos_tests::{
    cgroup::TestCgroup,
    injector::parse,
    machine::{Claim, Shared},
    process::{Place, Process},
    require,
};
use tempfile::TempDir;

use crate::{
    agent::{Agent, answers, features},
    seccomp::programs::Programs,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with files to break, a target, and a program that makes calls.
struct Scene {
    directory: TempDir,
    programs: Programs,
    cgroup: TestCgroup,
    agent: Agent,
}

impl Scene {
    fn new(claim: &impl Claim) -> Result<Self> {
        let directory = TempDir::new()?;
        for name in ["data", "database"] {
            fs::create_dir(directory.path().join(name))?;
            fs::write(directory.path().join(name).join("file"), "x\n")?;
        }
        symlink("data", directory.path().join("link"))?;
        let agent = Agent::with_features(features(claim)?.clone())?;
        let cgroup = TestCgroup::new(claim, "target")?;
        Ok(Self { directory, programs: Programs::new()?, cgroup, agent })
    }

    fn root(&self) -> Result<PathBuf> {
        fs::canonicalize(self.directory.path()).context("the real path")
    }

    fn arm(&mut self, calls: &str, path: &str) -> Result<()> {
        let path = self.root()?.join(path);
        let fault = format!("fail {calls} with EIO under {}", path.display());
        self.agent.arm(&self.cgroup, &fault).map(drop)
    }

    /// How many calls the rule matched, all of which failed.
    fn hits(&self) -> Result<u64> {
        let counts = self.agent.counts(&self.cgroup, 0)?;
        assert_eq!(counts.matched, counts.injected);
        Ok(counts.injected)
    }

    /// A shell in the directory and the target. `$raw` makes calls by their numbers.
    fn start(&self, script: &str) -> Result<Process> {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(self.root()?).env("raw", self.programs.raw()?);
        Process::spawn(command, Place::here().cgroup(&self.cgroup))
    }

    /// What a script prints, and how many calls of it failed.
    fn run(&self, script: &str) -> Result<(String, u64)> {
        let before = self.hits()?;
        let mut process = self.start(script)?;
        process.wait(PATIENCE)?;
        let printed: Vec<String> = process.remaining_lines().collect();
        Ok((printed.join("\n"), self.hits()? - before))
    }
}

macro_rules! require_paths {
    ($claim:expr) => {
        require!("fmod_ret on security functions"; answers($claim, Backend::Security));
    };
}

#[test]
fn a_read_fails_however_the_file_was_named() -> Result<()> {
    let claim = Shared::acquire()?;
    require_paths!(&claim);
    let mut scene = Scene::new(&claim)?;
    scene.arm("read", "data")?;
    for (script, hits) in [
        ("cat data/file", 1),
        ("cat link/file", 1),
        ("cat ./database/../data/./file", 1),
        ("cd data && cat file", 1),
        ("cat < data/file", 1),
        ("exec 9<data/file; cat /proc/self/fd/9", 1),
        ("exec 9<data/file; cat <&9", 1),
        ("cat database/file", 0),
        ("cd data && cat ../database/file", 0),
        // As it was called when it was opened.
        ("exec 9<data/file; mv data moved; cat <&9; mv moved data", 1),
        ("mv data moved; cat moved/file; mv moved data", 0),
        ("exec 9<database/file; mv database data/inner; cat <&9; mv data/inner database", 0),
        ("mv database data/inner; cat data/inner/file; mv data/inner database", 1),
        // Two links are one file, which goes by the name that it was opened by last.
        ("ln data/file database/link; cat database/link; rm database/link", 0),
        ("ln data/file database/link; cat data/file; rm database/link", 1),
        (
            "ln data/file database/link; exec 9<data/file 8<database/link; cat <&9; rm database/link",
            0,
        ),
        (
            "ln data/file database/link; exec 8<database/link 9<data/file; cat <&8; rm database/link",
            1,
        ),
        // The page cache is no way around.
        (
            "cat database/file; mv database/file data/warm; cat data/warm; mv data/warm database/file",
            1,
        ),
    ] {
        let (printed, found) = scene.run(script)?;
        assert_eq!(found, hits, "{script}: {printed:?}");
        assert_eq!(
            printed == "x",
            hits == 0 || script.starts_with("cat database/file;"),
            "{script}"
        );
    }
    Ok(())
}

/// In a mount namespace of the script's own.
#[test]
fn mounts_are_where_the_target_sees_them() -> Result<()> {
    let claim = Shared::acquire()?;
    require_paths!(&claim);
    let mut scene = Scene::new(&claim)?;
    let overlay = "mount -t tmpfs none database && cd database && mkdir low up work merged && \
                   echo x > low/file && \
                   mount -t overlay none -o lowerdir=low,upperdir=up,workdir=work merged && cd ..";
    for (under, script, hits) in [
        ("data", "mount --bind database data && cat data/file", 1),
        ("data", "mount --bind data database && cat database/file", 0),
        ("database", "mount --bind data database && cat database/file", 1),
        ("database/merged", &*format!("{overlay} && cat database/merged/file"), 1),
        ("database/low", &*format!("{overlay} && cat database/merged/file"), 0),
        ("database/low", &*format!("{overlay} && cat database/low/file"), 1),
    ] {
        scene.arm("read", under)?;
        let (printed, found) = scene.run(&format!("exec unshare -m sh -ec '{script}'"))?;
        assert_eq!(found, hits, "under {under}: {script}: {printed:?}");
        assert_eq!(printed == "x", hits == 0, "under {under}: {script}");
    }
    Ok(())
}

#[test]
fn calls_on_descriptors_know_the_file() -> Result<()> {
    let claim = Shared::acquire()?;
    require_paths!(&claim);
    let mut scene = Scene::new(&claim)?;
    let root = scene.root()?.display().to_string();
    let openat2 = |name: &str| format!("437,-100,s{root}/{name}/file,b,24");
    for (calls, of_data, of_database) in [
        ("open", openat2("data"), openat2("database")),
        // A private mapping to read from, of descriptor 8 or 9.
        ("mmap", "9,0,4096,1,2,9,0".to_owned(), "9,0,4096,1,2,8,0".to_owned()),
        // FIONREAD, F_GETFL and a shared lock.
        ("ioctl", "16,9,21531,b".to_owned(), "16,8,21531,b".to_owned()),
        ("fcntl", "72,9,3".to_owned(), "72,8,3".to_owned()),
        ("flock", "73,9,1".to_owned(), "73,8,1".to_owned()),
        ("fsync", "74,9".to_owned(), "74,8".to_owned()),
        ("write", "1,9,b,0".to_owned(), "1,8,b,0".to_owned()),
    ] {
        let path = format!("{root}/data");
        let fault = parse(&format!("fail {calls} with EIO under {path}"))?;
        let planned = plan(&fault, features(&claim)?, &Terms::default());
        let is_in_kernel = planned.rules.iter().all(|rule| !rule.is_by_seccomp());
        if planned.rules.is_empty() || !is_in_kernel {
            println!("{calls}: {:?}", planned.refused);
            continue;
        }
        // `sh` opens the files before the fault is there, and again under it.
        let script = format!(
            "exec 8<>database/file 9<>data/file; echo ready; read go; $raw 1 '{of_data}' '{of_database}'"
        );
        let mut process = scene.start(&script)?;
        assert_eq!(process.line(PATIENCE)?, "ready");
        scene.arm(calls, "data")?;
        process.write(b"\n")?;
        let before = (process.line(PATIENCE)?, process.line(PATIENCE)?);
        assert_eq!(before, ("-5".to_owned(), "OK".to_owned()), "{calls}, open already");
        process.wait(PATIENCE)?;
        if calls != "open" {
            let script =
                format!("exec 8<>database/file 9<>data/file; $raw 1 '{of_data}' '{of_database}'");
            let (printed, _) = scene.run(&script)?;
            assert!(printed.starts_with("-5\nOK\n"), "{calls}: {printed}");
        }
        scene.agent.armory.halt("the next one");
    }
    Ok(())
}

/// Requests by io_uring pass the same functions, also those that a worker of the kernel's makes.
#[test]
fn requests_by_io_uring_meet_the_rule() -> Result<()> {
    let claim = Shared::acquire()?;
    require_paths!(&claim);
    let mut scene = Scene::new(&claim)?;
    let uring = scene.programs.uring()?;
    let tried = Command::new(&uring).arg(scene.root()?.join("data/file")).output()?;
    let complaint = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
    require!("io_uring"; tried.status.success().then_some(()).ok_or(complaint));
    for (call, of_data) in [
        ("open", "open -5"),
        ("read", "open OK read -5 write OK fsync OK"),
        ("write", "open OK read OK write -5 fsync OK"),
    ] {
        scene.arm(call, "data")?;
        for how in ["", "async"] {
            let (printed, hits) =
                scene.run(&format!("{uring} data/file {how}; {uring} database/file {how}"))?;
            let lines: Vec<&str> = printed.lines().map(str::trim).collect();
            assert_eq!(lines, [of_data, "open OK read OK write OK fsync OK"], "{call} {how}");
            assert_eq!(hits, 1, "{call} {how}");
        }
    }
    Ok(())
}

#[test]
fn one_file_can_be_meant_and_another_target_is_not() -> Result<()> {
    let claim = Shared::acquire()?;
    require_paths!(&claim);
    let mut scene = Scene::new(&claim)?;
    fs::write(scene.directory.path().join("data/file2"), "y\n")?;
    scene.arm("open, read", "data/file")?;
    let (printed, hits) = scene.run("cat data/file2; cat data/file")?;
    assert_eq!((&*printed, hits), ("y", 1));
    let read = fs::read_to_string(Path::new(&scene.root()?).join("data/file"))?;
    assert_eq!(read, "x\n");
    Ok(())
}
