//! `explain`: the plan, without arming it.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use chaos_ebpf_common::rule::{Action, Rule};
use chaos_engine::{
    arm::{Eyes, features_for, path_notes},
    cgroup::{CgroupRoot, Target, resolve_with_pods},
    kernel::release,
};
use chaos_fault::{Fault, HowOften, Spread, Unit, Verb, print_duration};
use chaos_plan::{KernelFeatures, Plan, PlannedRule, Refusal, Support, Terms, compile, plan};
use serde::Serialize;

use super::{
    failure::Failure,
    faults::FaultArgs,
    hooks, kernel,
    output::{self, BOLD, Format, RED},
    rights,
    target::TargetArgs,
    terms::{self, TermsArgs},
};

/// Show what a fault would do here, by which hook and why, or why it cannot be done; arm nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  chaos-agent explain --fault 'drop 10% egress tcp to 10.0.0.0/8 port 5432 for 5m'
  chaos-agent explain --faults faults.yaml --pid 4242
  ssh node chaos-agent doctor --output json > node.json
  chaos-agent explain --features node.json --fault 'corrupt 1% egress'")]
pub struct Args {
    #[command(flatten)]
    faults: FaultArgs,
    /// What the kernel can do, as `doctor --output json` wrote it on the machine that is meant;
    /// without it this kernel is tried; who has no right to that sees what a kernel that has every hook
    /// would do, and it exits with 1
    #[arg(long, value_name = "FILE")]
    features: Option<PathBuf>,
    /// How long faults last that have no `for` of their own: 5m, unless this is given
    #[arg(long = "for", value_name = "DURATION", value_parser = terms::duration)]
    lasting: Option<Duration>,
    #[command(flatten)]
    terms: TermsArgs,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Serialize)]
struct Explanation<'a> {
    kernel: &'a str,
    /// Whether it is known what the kernel can do: from trying it, or from `--features`.
    tried: bool,
    target: Option<TargetView>,
    #[serde(flatten)]
    plan: &'a Plan,
}

#[derive(Serialize)]
struct TargetView {
    name: String,
    cgroup: String,
    notes: Vec<String>,
}

pub fn execute(args: &Args, format: Format) -> Result<ExitCode, Failure> {
    let faults = args.faults.read()?;
    let features = args.features.as_ref().map(read_features).transpose()?;
    let terms = args.terms.terms(args.lasting, Some(terms::UNLESS_SAID))?;
    // What the agent of a Kubernetes node does is explained, too.
    let terms = Terms { has_guard: true, ..terms };
    let spec = args.target.spec();
    let target = match spec {
        None => None,
        Some(spec) => {
            let root = CgroupRoot::discover()?;
            Some(resolve_with_pods(&spec, &root).map_err(Failure::of_target)?)
        }
    };
    let tried = features.is_some() || rights::may_load_programs();
    let features = match features {
        Some(features) => features,
        None if !tried => KernelFeatures::everything(release()),
        None => kernel::try_features(&CgroupRoot::discover()?),
    };
    let features = match &target {
        Some(target) => features_for(&features, target),
        None => features,
    };
    let mut plan = plan(&faults, &features, &terms);
    let eyes = match &target {
        Some(target) => Some(Eyes::Processes(target.cgroup.processes().unwrap_or_default())),
        // The files of this machine say nothing of another one.
        None => args.features.is_none().then_some(Eyes::Own),
    };
    if let Some(eyes) = eyes {
        note_paths(&mut plan, eyes);
    }
    let target = target.map(TargetView::from);
    match format {
        Format::Json => {
            output::json(&Explanation { kernel: &features.release, tried, target, plan: &plan })?
        }
        Format::Table => output::line(&text(&features, tried, target.as_ref(), &plan))?,
    }
    Ok(if tried && plan.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Adds what is to be known of the paths that rules go by.
fn note_paths(plan: &mut Plan, eyes: Eyes) {
    let paths = plan.rules.iter().filter_map(|rule| rule.fault.under.clone()).collect();
    let notes = path_notes(paths, eyes);
    for rule in &mut plan.rules {
        let note = rule.fault.under.as_ref().and_then(|path| notes.get(path));
        rule.notes.extend(note.cloned());
    }
}

impl From<Target> for TargetView {
    fn from(target: Target) -> Self {
        let cgroup = target.cgroup.path().display().to_string();
        Self { name: target.name, cgroup, notes: target.notes }
    }
}

fn read_features(path: &PathBuf) -> Result<KernelFeatures, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::Usage(format!(
            "{} is not what `chaos-agent doctor --output json` writes: {error}",
            path.display()
        ))
    })
}

/// The plan as people read it.
fn text(
    features: &KernelFeatures,
    tried: bool,
    target: Option<&TargetView>,
    plan: &Plan,
) -> String {
    let mut head = vec![("kernel", features.release.clone())];
    if let Some(TargetView { name, cgroup, notes }) = target {
        head.push(("target", format!("{name} (cgroup {cgroup})")));
        head.extend(notes.iter().map(|note| ("", note.clone())));
    }
    if features.hooks().all(|(_, support)| support != Support::Works) {
        let hint = "no hook works here; --features plans for another kernel, --help tells how";
        head.push(("note", hint.to_owned()));
    }
    if !tried {
        let hint = "hooks were not tried, as that takes rights; this is what a kernel that has all of them would do";
        head.push(("note", format!("{hint}; {}", rights::remedy())));
    }
    head.extend(plan.notes.iter().map(|note| ("note", note.clone())));
    let positions: Vec<u32> = (0..).take(plan.rules.len()).collect();
    let compiled = compile(&plan.rules, &positions, 1, &vec![0; plan.rules.len()]);
    let mut blocks: Vec<(usize, String)> = Vec::new();
    for (rule, in_kernel) in plan.rules.iter().zip(&compiled.rules) {
        blocks.push((rule.index, block(&rule.fault, planned(rule, in_kernel))));
    }
    for refusal in &plan.refused {
        blocks.push((refusal.index, block(&refusal.fault, refused(refusal))));
    }
    blocks.sort_by_key(|(index, _)| *index);
    let blocks = blocks.into_iter().map(|(_, block)| block);
    [output::fields("", head)].into_iter().chain(blocks).collect::<Vec<_>>().join("\n\n")
}

fn block(fault: &Fault, fields: Vec<(&'static str, String)>) -> String {
    format!("{BOLD}{fault:#}{BOLD:#}\n{}", output::fields("  ", fields))
}

fn planned(rule: &PlannedRule, in_kernel: &Rule) -> Vec<(&'static str, String)> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    let packets = rule.fault.packets().map(|packets| ("means", packets));
    for hook in &rule.hooks {
        let label = if fields.is_empty() { "hook" } else { "" };
        fields.push((label, format!("{hook}: {}", hooks::sees(*hook))));
    }
    for call in &rule.calls {
        let label = if fields.is_empty() { "call" } else { "" };
        fields.push((label, call.to_string()));
    }
    fields.extend(packets);
    fields.push(("rule", rule_text(rule, in_kernel)));
    let begins = match rule.fault.after {
        Some(after) => format!(", from {} after arming", print_duration(after)),
        None => String::new(),
    };
    let until = rule.fault.until.map(|until| format!(", until {until} at the latest"));
    let guarded = if rule.fault.guarded { ", as long as its guard moves" } else { "" };
    let ends = format!("{}{guarded}", until.unwrap_or_default());
    fields.push(("lasts", format!("{}{begins}{ends}", print_duration(rule.duration))));
    fields.extend(rule.notes.iter().map(|note| ("note", note.clone())));
    fields
}

fn refused(Refusal { reason, remedy, .. }: &Refusal) -> Vec<(&'static str, String)> {
    let mut fields = vec![("refused", format!("{RED}{reason}{RED:#}"))];
    fields.extend(remedy.iter().map(|remedy| ("help", remedy.clone())));
    fields
}

/// What the gate is told.
fn rule_text(rule: &PlannedRule, in_kernel: &Rule) -> String {
    let mut parts = vec![action(rule)];
    let unit = match rule.fault.chance.of {
        Unit::Packets => "packet",
        Unit::Flows => "flow",
        Unit::Calls => "call",
    };
    parts.push(match rule.fault.chance.how {
        HowOften::Always => format!("every {unit} that matches"),
        HowOften::Probability(_) => format!(
            "a {unit} that matches where its dice, of seed {}, are below {} of 2^32",
            rule.seed, in_kernel.threshold
        ),
        HowOften::Bursts { length, .. } => format!(
            "a {unit} that matches, in bursts of {length} on average, of which one begins where its \
             dice, of seed {}, are below {} of 2^32",
            rule.seed, in_kernel.threshold
        ),
        HowOften::EveryNth(every) => format!("one {unit} in {every} that match"),
        HowOften::Window { first, last: None } => {
            format!("each {unit} that matches, but for the first {}", first - 1)
        }
        HowOften::Window { first, last: Some(last) } if first == last => {
            format!("{unit} number {first} of those that match")
        }
        HowOften::Window { first: 1, last: Some(last) } => {
            format!("the first {last} {unit}s that match")
        }
        HowOften::Window { first, last: Some(last) } => {
            format!("of those that match, each {unit} from number {first} to number {last}")
        }
    });
    if in_kernel.at_most > 0 {
        parts.push(format!("at most {}", in_kernel.at_most));
    }
    if in_kernel.per_second > 0 {
        parts.push(format!("at most {} a second", in_kernel.per_second));
    }
    parts.join("; ")
}

fn hold(verb: &Verb) -> String {
    match verb {
        Verb::Delay(latency) | Verb::DelayDns { latency, .. } => match &latency.spread {
            Spread::Around { by, jitter: None, .. } => {
                format!("hold back for {}", print_duration(*by))
            }
            Spread::Around { by, jitter: Some(jitter), .. } => {
                let (by, jitter) = (print_duration(*by), print_duration(*jitter));
                format!("hold back for {by}, spread by {jitter}")
            }
            Spread::OneOf(latencies) | Spread::File { latencies, .. } => {
                format!("hold back for one of {} latencies", latencies.len())
            }
        },
        Verb::Reorder { by } => {
            format!("hold back for {}, so that others overtake", print_duration(*by))
        }
        Verb::Limit { bits_per_second, queue, per_flow } => {
            let each = if *per_flow { "each flow " } else { "" };
            let queue = queue.map_or_else(String::new, |queue| {
                format!(", lose what would wait for more than {}", print_duration(queue))
            });
            format!("hold {each}back to {bits_per_second} bits per second{queue}")
        }
        Verb::Drop
        | Verb::Corrupt { .. }
        | Verb::Duplicate
        | Verb::Reset
        | Verb::Fail { .. }
        | Verb::FailDns { .. }
        | Verb::Slow { .. }
        | Verb::Kill { .. }
        | Verb::KillContainer
        | Verb::SkewClock { .. } => "hold back".to_owned(),
    }
}

fn action(rule: &PlannedRule) -> String {
    if rule.fault.shadow {
        return "count and let pass".to_owned();
    }
    match rule.action {
        Action::Drop => "drop".to_owned(),
        Action::Corrupt => "flip a bit and leave the checksum wrong".to_owned(),
        Action::CorruptSilently => "flip a bit and make the checksum valid".to_owned(),
        Action::Duplicate => "send a copy the same way".to_owned(),
        Action::Delay | Action::Reorder | Action::Limit => hold(&rule.fault.verb),
        Action::Reset => "send a RST to both ends".to_owned(),
        Action::NxDomain => "answer NXDOMAIN in the server's name".to_owned(),
        Action::ServFail => "answer SERVFAIL in the server's name".to_owned(),
        Action::Refused => "answer REFUSED in the server's name".to_owned(),
        Action::Silence => "let nobody answer".to_owned(),
        Action::Kill => "send SIGKILL to the caller".to_owned(),
        Action::Fail => {
            let Verb::Fail { errnos, .. } = &rule.fault.verb else { return "fail".to_owned() };
            let errnos: Vec<String> = errnos
                .iter()
                .map(|choice| format!("{} ({})", choice.errno, choice.errno.number()))
                .collect();
            format!("return {}", errnos.join(" or "))
        }
    }
}
