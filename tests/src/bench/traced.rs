//! System calls that programs in the kernel answer, beside strace, which stops the caller for each.

use std::{env, process::Command};

use anyhow::{Context, Result, ensure};
use chaos_fault::Fault;
use chaos_plan::{Backend, Support};
use chaos_tests::{
    cgroup::TestCgroup,
    injector::{Injector, parse},
    machine::Shared,
    process::{Place, Process},
};

use crate::{
    empty::Empty,
    experiments::{Row, Section},
    rounds::{Effort, alternate},
    scene::PATIENCE,
};

/// Calls that are timed in one batch of the effort.
const CALLS_A_BATCH: u32 = 50;

/// Targets at a time.
const CROWD: usize = 250;

/// What a victim lives under.
enum Variant {
    Nothing,
    /// An empty program at the function.
    Empty,
    /// These faults, the victim being their target.
    Target(Vec<Fault>),
    /// These faults for another cgroup.
    Bystander(Vec<Fault>),
    /// The same for 250 of them.
    Crowd(Vec<Fault>),
    /// `strace` with this expression.
    Strace(&'static str),
}

/// What is measured on one function.
struct Experiment {
    title: &'static str,
    call: &'static str,
    function: &'static str,
    variants: Vec<(&'static str, Variant, Option<f64>)>,
}

/// Where no program can be attached to calls there is nothing to measure.
pub fn measure(effort: Effort) -> Result<Vec<Section>> {
    let shared = Shared::acquire()?;
    let [target, other, probe] =
        ["target", "other", "probe"].map(|name| TestCgroup::new(&shared, name));
    let (target, other, probe) = (target?, other?, probe?);
    let crowd: Vec<TestCgroup> = (0..CROWD)
        .map(|number| TestCgroup::new(&shared, &format!("crowd-{number}")))
        .collect::<Result<_>>()?;
    let mut injector = Injector::new(probe.path())?;
    let mut sections = Vec::new();
    for Experiment { title, call, function, variants } in experiments(&injector)? {
        let samples = alternate(effort.rounds, variants.len(), |variant| {
            let (what, variant, _) = &variants[variant];
            let time =
                |wrapper: &[&str]| time(call, effort.batches * CALLS_A_BATCH, wrapper, &target);
            let measured = match variant {
                Variant::Nothing => time(&[]),
                Variant::Empty => {
                    let _empty = Empty::attach(function)?;
                    time(&[])
                }
                Variant::Target(faults) | Variant::Bystander(faults) => {
                    let is_target = matches!(variant, Variant::Target(_));
                    let cgroup = if is_target { &target } else { &other };
                    injector.arm(injector.target(cgroup.path())?, faults)?;
                    let measured = time(&[]);
                    injector.disarm();
                    measured
                }
                Variant::Crowd(faults) => {
                    injector.arm_crowd(&crowd, faults)?;
                    let measured = time(&[]);
                    injector.disarm_crowd(crowd.len());
                    measured
                }
                Variant::Strace(expression) => {
                    time(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", expression])
                }
            };
            measured.with_context(|| (*what).to_owned())
        })?;
        let base = samples[0].clone();
        let rows = variants.into_iter().zip(samples).enumerate();
        let rows = rows.map(|(index, ((what, _, aim), figures))| {
            let ratio = (index > 0).then(|| figures.over(&base));
            Row { what, figures, ratio, aim }
        });
        sections.push(Section { title, unit: "ns a call", rows: rows.collect() });
    }
    Ok(sections)
}

fn experiments(injector: &Injector) -> Result<Vec<Experiment>> {
    let works = |backend| injector.features().support(backend) == Support::Works;
    let mut experiments = Vec::new();
    if works(Backend::Entry) {
        experiments.push(Experiment {
            title: "A system call with a program at its entry",
            call: "getpgid",
            function: "__x64_sys_getpgid",
            variants: vec![
                ("an empty fmod_ret program", Variant::Empty, None),
                ("nothing", Variant::Nothing, None),
                (
                    "another cgroup armed: fail getpgid with EPERM",
                    Variant::Bystander(parse("fail getpgid with EPERM")?),
                    Some(1.3),
                ),
                (
                    "250 other cgroups armed: fail getpgid with EPERM",
                    Variant::Crowd(parse("fail getpgid with EPERM")?),
                    Some(1.3),
                ),
                (
                    "a rule that has not begun",
                    Variant::Target(parse("fail getpgid with EPERM after 1h")?),
                    None,
                ),
                (
                    "fail getpgid with EPERM",
                    Variant::Target(parse("fail getpgid with EPERM")?),
                    None,
                ),
                (
                    "strace -e inject=getpgid:error=EPERM",
                    Variant::Strace("inject=getpgid:error=EPERM"),
                    None,
                ),
            ],
        });
    }
    // Where entries answer, the plan has nothing at security functions.
    if experiments.is_empty() && works(Backend::Security) {
        experiments.push(Experiment {
            title: "A system call with a program at the security function that it passes",
            call: "pread64",
            function: "security_file_permission",
            variants: vec![
                ("an empty fmod_ret program", Variant::Empty, None),
                ("nothing", Variant::Nothing, None),
                (
                    "another cgroup armed: fail pwrite64 with EIO",
                    Variant::Bystander(parse("fail pwrite64 with EIO")?),
                    Some(1.3),
                ),
                (
                    "a rule for another call at the same function",
                    Variant::Target(parse("fail pwrite64 with EIO")?),
                    Some(1.3),
                ),
            ],
        });
    }
    Ok(experiments)
}

/// Nanoseconds that the victim says a call took, with `wrapper` before its command.
fn time(call: &str, calls: u32, wrapper: &[&str], cgroup: &TestCgroup) -> Result<f64> {
    let bench = env::current_exe().context("find the benchmark's program")?;
    let mut command = match wrapper {
        [] => Command::new(bench),
        [program, options @ ..] => {
            let mut command = Command::new(program);
            command.args(options).arg(bench);
            command
        }
    };
    command.args(["caller", call, &calls.to_string()]);
    let mut victim = Process::spawn(command, Place::here().cgroup(cgroup))?;
    ensure!(victim.line(PATIENCE)? == "ready", "the victim did not start");
    victim.write(b"\n")?;
    let printed = victim.line(PATIENCE)?;
    ensure!(victim.wait(PATIENCE)?.success(), "the victim failed");
    printed.parse().with_context(|| format!("it printed {printed:?}"))
}
