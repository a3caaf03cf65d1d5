//! How the demo looks. Colours are taken out where the stream is no terminal.

use std::{fmt::Display, path::Path, time::Duration};

use anstream::println;
use anstyle::{AnsiColor, Style};
use chaos_agent::{
    arm::{Counts, FaultReport},
    kube::{FaultStatus, Status},
};
use chaos_tests::requirements::Release;

use crate::{hosts::Hosts, traffic::Seen};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const FAULT: Style = AnsiColor::Yellow.on_default().bold();

pub fn scene(hosts: &Hosts, agent: &Path) {
    let release = nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    println!(
        "A client and a server, each in a cgroup and a network namespace of its own; Linux {release}"
    );
    println!();
    println!("  client    {} ── veth ── {}    server", hosts.client_end.v4, hosts.server_end.v4);
    println!("  neighbour {}    in the client's namespace, in another cgroup", hosts.client_end.v4);
    println!();
    let here = std::env::current_dir().unwrap_or_default();
    let agent = agent.strip_prefix(here).unwrap_or(agent);
    println!("Each fault is armed by a process of its own:");
    println!();
    println!(
        "  {} inject --cgroup {} --fault '...'",
        agent.display(),
        hosts.client.path().display()
    );
}

pub fn healthy() {
    println!();
    println!("{GOOD}healthy{GOOD:#}");
}

pub fn fault(what: &str, sentence: &str) {
    println!();
    println!("{FAULT}{sentence}{FAULT:#}    {DIM}{what}{DIM:#}");
}

/// A fault that this kernel can't do.
pub fn refused(why: &str) {
    for (number, text) in why.lines().enumerate() {
        line(if number == 0 { "refused" } else { "" }, text);
    }
}

pub fn victim(who: &str, Seen { text, broken }: &Seen) {
    let style = if *broken == 0 { GOOD } else { BAD };
    line(who, format_args!("{style}{text}{style:#}"));
}

/// What the kernel counted; returns whether it is what the victim saw.
pub fn kernel(FaultReport { counts, .. }: &FaultReport, seen: &Seen) -> bool {
    line("kernel", sums(counts));
    let agrees = counts.injected == seen.broken;
    if !agrees {
        line("", format_args!("{BAD}the victim saw {} broken{BAD:#}", seen.broken));
    }
    agrees
}

pub fn cluster(node: &str, pod: &str) {
    println!("A real kube-apiserver with one node, {node}, served by `chaos-agent agent`;");
    println!("on it runs the pod {pod}, and talks to a server.");
}

pub fn node(kernel: &str, release: &Release, after: Duration) {
    println!(
        "A real Kubernetes node, {kernel} (Linux {release}) in a virtual machine, after {:.0} s: kubelet,",
        after.as_secs_f64()
    );
    println!(
        "containerd and runc, the agent as a DaemonSet from manifests/base, and three Deployments:"
    );
    println!(
        "till and neighbour both talk to store. What they say is seen from inside by kubectl exec."
    );
}

pub fn kubectl(arguments: &str) {
    println!();
    println!("{FAULT}kubectl {arguments}{FAULT:#}");
}

/// The agent's answer on the pod.
pub fn status(Status { phase, faults, messages, .. }: &Status) {
    line("status", format_args!("{phase:?}"));
    for FaultStatus { fault, counts, .. } in faults {
        line("", format_args!("{fault}: {}", sums(counts)));
    }
    for message in messages {
        line("", message.trim_end().replace('\n', "\n            "));
    }
}

pub fn progress(what: &str) {
    anstream::eprintln!("{DIM}{what} ...{DIM:#}");
}

pub fn recovered(answered: &str, after: Duration) {
    line("victim", answered);
    let after = after.as_secs_f64() * 1000.0;
    line("healthy", format_args!("{GOOD}{after:.1} ms after SIGKILL{GOOD:#}"));
}

pub fn residue(left: &[&String]) {
    println!();
    if left.is_empty() {
        println!("{GOOD}nothing left{GOOD:#}: no program, map, link, qdisc, interface or cgroup");
        return;
    }
    println!("{BAD}left behind{BAD:#}");
    for thing in left {
        println!("  {thing}");
    }
}

fn sums(Counts { matched, injected, spared, .. }: &Counts) -> String {
    let mut text = format!("{matched} matched, {injected} injected");
    for (reason, number) in spared {
        text.push_str(&format!(", {number} spared ({reason})"));
    }
    text
}

fn line(who: &str, text: impl Display) {
    println!("  {BOLD}{who:<9}{BOLD:#} {text}");
}
