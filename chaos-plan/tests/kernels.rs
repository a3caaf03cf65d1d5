//! `docs/kernels.md` is what the planner makes of the lab's kernels, from what the agent recorded on
//! each of them (`cargo xtask vm --all record`). `SNAPSHOTS=overwrite` writes the page anew.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use chaos_plan::{
    Backend, DelayLine, KernelFeatures, Plan, PlannedRule, Refusal, Support, Terms, plan,
};

/// The lab's kernels, oldest first; the last one is our own build with error injection.
const KERNELS: [&str; 5] =
    ["debian-5.10", "debian-6.1", "debian-6.12", "debian-7", "override-6.12"];

fn features(kernel: &str) -> KernelFeatures {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/features/{kernel}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn plan_of(text: &str, features: &KernelFeatures) -> Plan {
    let sentences = chaos_fault::parse(text).unwrap_or_else(|errors| panic!("{text}: {errors}"));
    let faults: Vec<_> = sentences.into_iter().map(|sentence| sentence.fault).collect();
    plan(&faults, features, &Terms::default())
}

/// The kinds of hooks and the backends that a rule acts through.
fn means(rule: &PlannedRule) -> String {
    let hooks = rule.hooks.iter().map(|hook| hook.name());
    let kinds = hooks.map(|name| name.split_once('/').map_or(name, |(kind, _)| kind));
    let kinds: BTreeSet<&str> = kinds.collect();
    let backends: BTreeSet<_> = rule.calls.iter().map(|call| call.backend).collect();
    let backends = backends.into_iter().map(|backend| backend.name());
    let line = rule.line.map(DelayLine::name);
    kinds.into_iter().chain(backends).chain(line).collect::<Vec<_>>().join(", ")
}

/// By what each fault is done on each kernel.
fn by_fault(kernels: &[KernelFeatures]) -> String {
    let mut table = format!("| fault | {} |\n|---|", KERNELS.join(" | "));
    table += &"---|".repeat(KERNELS.len());
    table.push('\n');
    for text in chaos_fault::verbs().flat_map(|verb| verb.samples) {
        write!(table, "| `{text}` |").unwrap();
        for features in kernels {
            let means: Vec<String> = plan_of(text, features).rules.iter().map(means).collect();
            let cell = if means.is_empty() { "–".to_owned() } else { means.join("; ") };
            write!(table, " {cell} |").unwrap();
        }
        table.push('\n');
    }
    table
}

/// What each kernel lacks.
fn missing(kernels: &[KernelFeatures]) -> String {
    let mut text = String::new();
    for (name, features) in KERNELS.iter().zip(kernels) {
        writeln!(text, "\n### {name}\n\nRecorded on {}.\n", features.release).unwrap();
        let hooks = features.hooks().map(|(hook, support)| (hook.name(), support));
        let backends = features.backends().map(|(backend, support)| (backend.name(), support));
        let mut any = false;
        let lines = features.lines().map(|(line, support)| (line.name(), support));
        for (name, support) in hooks.chain(backends).chain(lines) {
            if let Support::Missing { reason, remedy } = support {
                any = true;
                write!(text, "- `{name}`: {reason}").unwrap();
                if !remedy.is_empty() {
                    write!(text, "; what would help: {remedy}").unwrap();
                }
                text.push('\n');
            }
        }
        if !any {
            text += "Nothing is missing.\n";
        }
    }
    text
}

/// What the agent would find on aarch64 under a kernel that can do what Debian's 6.12 can.
fn on_aarch64() -> KernelFeatures {
    let found = features("debian-6.12").with_functions([]);
    Backend::ALL.into_iter().fold(found, |found, backend| {
        found.with(backend, Backend::lack_on("aarch64").expect("it is not x86-64"))
    })
}

/// The samples of the language, each with its plan on aarch64.
fn plans_on_aarch64() -> impl Iterator<Item = (&'static str, Plan)> {
    let features = on_aarch64();
    let samples = chaos_fault::verbs().flat_map(|verb| verb.samples.iter().copied());
    samples.map(move |text| (text, plan_of(text, &features)))
}

/// Which faults are refused there and planned on x86-64.
fn refused_on_aarch64() -> String {
    let elsewhere = features("debian-6.12");
    let mut list = String::new();
    for (text, plan) in plans_on_aarch64() {
        if !plan.refused.is_empty() && plan_of(text, &elsewhere).refused.is_empty() {
            writeln!(list, "- `{text}`").unwrap();
        }
    }
    list
}

#[test]
fn aarch64_is_refused_what_knows_x86_64() {
    let mut page = String::new();
    for (text, Plan { rules, refused, .. }) in plans_on_aarch64() {
        writeln!(page, "{text}").unwrap();
        for rule in &rules {
            assert_eq!(rule.calls, [], "{text}: none is answered by its number");
            writeln!(page, "  {}", means(rule)).unwrap();
        }
        for Refusal { reason, remedy, .. } in refused {
            writeln!(page, "  refused: {reason}; {}", remedy.unwrap_or_default()).unwrap();
        }
    }
    snapbox::assert_data_eq!(page, snapbox::file!["golden/aarch64.txt"].raw());
}

#[test]
fn the_page_is_what_the_planner_says() {
    let kernels = KERNELS.map(features);
    let page = format!(
        "# Kernels\n\n\
         <!-- Generated by `SNAPSHOTS=overwrite cargo test -p chaos-plan --test kernels`. -->\n\n\
         Which fault is done by what on the kernels that the project is tested on. `cgroup_skb`, \
         `cgroup`, `tcx` and\n`clsact` are kinds of hooks, `fq` and `tap` what holds packets back, the \
         others ways to answer system calls; `–` means\nthat the fault is refused, and `chaos-agent \
         explain` says why. `chaos-agent doctor` finds out what the kernel at\nhand can do.\n\n{}\n\
         ## What each kernel lacks\n{}\n\
         ## aarch64\n\n\
         Nothing has been run on an aarch64 machine. `cargo xtask ci` compiles the agent for it (without the client of \
         Kubernetes) and\nthe BPF object (without the programs that answer calls by their numbers, which know \
         the registers and numbers of x86-64).\nSo an agent there refuses the following, whatever its kernel can \
         do. What it does of the rest depends on the kernel, as\nabove; `chaos-agent doctor` tries it.\n\n{}",
        by_fault(&kernels),
        missing(&kernels),
        refused_on_aarch64()
    );
    snapbox::assert_data_eq!(page, snapbox::file!["../../docs/kernels.md"].raw());
}

#[test]
fn every_kernel_drops_packets() {
    for kernel in KERNELS {
        let plan = plan_of("drop", &features(kernel));
        assert_eq!(plan.refused, [], "{kernel}");
    }
}
