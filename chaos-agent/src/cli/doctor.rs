//! `doctor`: what this kernel can do, found by trying.

use std::process::ExitCode;

use caps::CapSet;
use chaos_api::clock::boot_offset;
use chaos_engine::{
    cgroup::{CgroupRoot, TargetError},
    descriptors::Descriptors,
    kernel::{check_clock, find_features, release},
};
use chaos_plan::{KernelFeatures, Plan, PlannedRule, Support, Terms, plan};

use super::{
    failure::Failure,
    hooks, kernel,
    output::{self, Format, GREEN, RED},
    rights,
};

/// Find out what this kernel can do, by trying each hook on a cgroup and a network namespace of
/// our own
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exits with 0 when at least one hook works; with 1 also where the right to try them is missing.

What works \"for `run`\" is done by seccomp, which needs a filter from the start: it reaches the command of
`run` and containers under our seccomp profile, and nothing that runs already.

Examples:
  chaos-agent doctor
  chaos-agent doctor --output json > node.json    # for explain --features")]
pub struct Args {}

pub fn execute(format: Format) -> Result<ExitCode, Failure> {
    let root = CgroupRoot::discover();
    let may_try = rights::may_load_programs();
    let features = match &root {
        _ if !may_try => KernelFeatures::nothing(release()),
        Ok(root) => kernel::try_features(root),
        Err(error) => find_features(Err(error.to_string())),
    };
    match format {
        Format::Json => output::json(&features)?,
        Format::Table if !may_try => {
            let mut machine = machine(&features, root.as_ref());
            let untried = format!("were not tried, as that takes rights; {}", rights::remedy());
            machine.push(("hooks", format!("{RED}{untried}{RED:#}")));
            output::line(&[output::fields("", machine), by_fault_at_best()?].join("\n\n"))?;
        }
        Format::Table => {
            let mut machine = machine(&features, root.as_ref());
            machine.extend(["delay line", ""].into_iter().zip(lines(&features)));
            let machine = output::fields("", machine);
            let by_fault = by_fault(&features)?;
            output::line(
                &[machine, by_hook(&features), by_backend(&features), by_fault].join("\n\n"),
            )?;
        }
    }
    let works = features.hooks().any(|(_, support)| support == Support::Works);
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn machine(
    features: &KernelFeatures,
    root: Result<&CgroupRoot, &TargetError>,
) -> Vec<(&'static str, String)> {
    let cgroups = match root {
        Ok(root) => root.mount_point().display().to_string(),
        Err(error) => format!("{RED}{error}{RED:#}"),
    };
    vec![
        ("kernel", format!("{} {}", features.release, std::env::consts::ARCH)),
        ("cgroup v2", cgroups),
        ("rights", rights()),
        ("descriptors", room_for_files()),
        ("boot clock", boot_clock()),
    ]
}

/// Whether packets can be held back: by the first that works.
fn lines(features: &KernelFeatures) -> impl Iterator<Item = String> {
    features.lines().map(|(line, support)| match support {
        Support::Works => format!("{line} {GREEN}works{GREEN:#}"),
        Support::Missing { reason, remedy } => {
            format!("{line} {RED}missing{RED:#}: {reason}; {remedy}")
        }
    })
}

/// The capabilities that we have and lack.
fn rights() -> String {
    let effective = match caps::read(None, CapSet::Effective) {
        Ok(effective) => effective,
        Err(error) => return format!("{RED}unknown: {error}{RED:#}"),
    };
    let names = |have: bool| {
        let of =
            rights::NEEDED.into_iter().filter(|capability| effective.contains(capability) == have);
        of.map(|capability| capability.to_string()).collect::<Vec<_>>().join(", ")
    };
    match (names(true), names(false)) {
        (have, lack) if lack.is_empty() => have,
        (have, lack) if have.is_empty() => format!("{RED}none of {lack}{RED:#}"),
        (have, lack) => format!("{have}; {RED}not {lack}{RED:#}"),
    }
}

/// How many file descriptors we may have: each target takes some.
fn room_for_files() -> String {
    match Descriptors::count() {
        Ok(Descriptors { limit, limit_before, .. }) if limit > limit_before => {
            format!("{limit}, raised from {limit_before}")
        }
        Ok(Descriptors { limit, .. }) => limit.to_string(),
        Err(error) => format!("{RED}unknown: {error}{RED:#}"),
    }
}

/// Whether leases and deadlines mean the same to us and to the programs.
fn boot_clock() -> String {
    let seconds = boot_offset() as f64 / 1e9;
    match check_clock() {
        Err(error) => format!("{RED}{error}{RED:#}"),
        Ok(()) if boot_offset() == 0 => "the kernel's".to_owned(),
        Ok(()) => format!("moved by {seconds} s in this time namespace, which is reckoned in"),
    }
}

fn by_hook(features: &KernelFeatures) -> String {
    let rows = features.hooks().map(|(hook, support)| match support {
        Support::Works => [hook.to_string(), yes(), hooks::sees(hook).to_owned()],
        Support::Missing { reason, remedy } => {
            [hook.to_string(), no(), format!("{reason}; {remedy}")]
        }
    });
    output::table(["HOOK", "WORKS", "WHAT IT SEES, OR WHAT IS MISSING"], rows)
}

fn by_backend(features: &KernelFeatures) -> String {
    let rows = features.backends().map(|(backend, support)| match support {
        Support::Works => [backend.to_string(), yes(), hooks::answers(backend).to_owned()],
        Support::Missing { reason, remedy } => {
            let why = [reason, remedy].into_iter().filter(|text| !text.is_empty());
            [backend.to_string(), no(), why.collect::<Vec<_>>().join("; ")]
        }
    });
    output::table(["BACKEND", "WORKS", "WHICH CALLS IT ANSWERS, OR WHAT IS MISSING"], rows)
}

/// What the planner makes of one fault of each family here.
fn by_fault(features: &KernelFeatures) -> anyhow::Result<String> {
    let mut rows = Vec::new();
    for (text, plan) in plans(features)? {
        for rule in plan.rules {
            // It takes a filter that nothing has that is running already.
            let works = if rule.is_by_seccomp() { "for `run`".to_owned() } else { yes() };
            rows.push([text.to_owned(), works, means(&rule)]);
        }
        for refusal in plan.refused {
            rows.push([text.to_owned(), no(), refusal.reason]);
        }
    }
    Ok(output::table(["FAULT", "WORKS", "BY WHICH HOOK, OR WHAT IS MISSING"], rows))
}

/// The same of a kernel of which nothing is known.
fn by_fault_at_best() -> anyhow::Result<String> {
    let mut rows = Vec::new();
    for (text, plan) in plans(&KernelFeatures::everything(release()))? {
        let means = plan.rules.iter().map(means);
        let reasons = plan.refused.into_iter().map(|refusal| refusal.reason);
        rows.extend(means.chain(reasons).map(|by| [text.to_owned(), by]));
    }
    Ok(output::table(["FAULT", "BY WHICH HOOK, AT BEST"], rows))
}

fn plans(features: &KernelFeatures) -> anyhow::Result<Vec<(&'static str, Plan)>> {
    let plan_of = |text| {
        let faults = chaos_fault::parse(text)?.into_iter().map(|sentence| sentence.fault);
        Ok((text, plan(&faults.collect::<Vec<_>>(), features, &Terms::default())))
    };
    chaos_fault::verbs().flat_map(|verb| verb.samples).map(|text| plan_of(text)).collect()
}

fn means(rule: &PlannedRule) -> String {
    let hooks = rule.hooks.iter().map(ToString::to_string);
    let calls = rule.calls.iter().map(ToString::to_string);
    let line = rule.line.map(|line| line.to_string());
    hooks.chain(calls).chain(line).collect::<Vec<_>>().join(", ")
}

fn yes() -> String {
    format!("{GREEN}yes{GREEN:#}")
}

fn no() -> String {
    format!("{RED}no{RED:#}")
}
