//! How the demo looks. Colours are taken out where the stream is no terminal.

use std::{fmt::Display, time::Duration};

use anstream::println;
use anstyle::{AnsiColor, Style};
use chaos_api::Counts;
use chaos_kube::{FaultStatus, Status};
use chaos_tests::requirements::Release;

use crate::traffic::Seen;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const FAULT: Style = AnsiColor::Yellow.on_default().bold();

pub fn healthy() {
    println!();
    println!("{GOOD}healthy{GOOD:#}");
}

pub fn victim(who: &str, Seen { text, broken }: &Seen) {
    let style = if *broken == 0 { GOOD } else { BAD };
    line(who, format_args!("{style}{text}{style:#}"));
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
