//! `bench [beside | delay [--plot] | rate | scale [--before PROGRAM] | cluster [--nodes N] [--pods N]] [--quick] [--lab]`: measures
//! what the agent costs and how exact it is, and writes docs/benchmarks.md.

mod plot;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use xtask::{
    figures::{cluster, delays, rates, read},
    paths,
};

use crate::{
    command::capture,
    integration,
    setup::{self, Part},
    vm,
};

const PAGE: &str = "docs/benchmarks.md";

/// The kernel of the lab that has all the means there are.
const KERNEL: &str = "override-6.12";

/// The lines of the page that figures stand between.
struct Marks {
    begin: &'static str,
    end: &'static str,
}

/// Of this machine's figures.
const HERE: Marks = Marks { begin: "<!-- bench:begin -->\n", end: "<!-- bench:end -->\n" };
/// Of the lab's.
const LAB: Marks = Marks { begin: "<!-- bench:lab:begin -->\n", end: "<!-- bench:lab:end -->\n" };

/// Of delays.
const DELAYS: Marks =
    Marks { begin: "<!-- bench:delay:begin -->\n", end: "<!-- bench:delay:end -->\n" };

/// Of rates and loads.
const RATES: Marks =
    Marks { begin: "<!-- bench:rate:begin -->\n", end: "<!-- bench:rate:end -->\n" };

/// Of many targets.
const SCALE: Marks =
    Marks { begin: "<!-- bench:scale:begin -->\n", end: "<!-- bench:scale:end -->\n" };

/// Of others beside targets.
const BESIDE: Marks =
    Marks { begin: "<!-- bench:beside:begin -->\n", end: "<!-- bench:beside:end -->\n" };
/// Of a run on all pods of a cluster.
const CLUSTER: Marks =
    Marks { begin: "<!-- bench:cluster:begin -->\n", end: "<!-- bench:cluster:end -->\n" };

/// What is measured beside what faults cost.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Subject {
    /// What faults on frames cost others in the network namespace of their targets
    Beside,
    /// How exact delays are: here, and beside netem's in one run on a kernel of the lab
    Delay,
    /// What many targets cost the agent
    Scale,
    /// What a run on all pods of simulated nodes costs the API server and the controller
    Cluster,
    /// What arrives under a rate, beside tbf's where the kernel has it, and what a delay loses under load
    Rate,
}

#[derive(clap::Args)]
pub struct Args {
    /// Measure this instead
    subject: Option<Subject>,
    /// Draw the delays that were measured
    #[arg(long, requires = "subject")]
    plot: bool,
    /// With `scale`: beside it, in turns, this other agent
    #[arg(long, requires = "subject", value_name = "PROGRAM")]
    before: Option<PathBuf>,
    /// With `cluster`: so many nodes, 200 if nothing is said
    #[arg(long, requires = "subject", value_name = "NUMBER")]
    nodes: Option<usize>,
    /// With `cluster`: so many pods on all nodes together, 6000 if nothing is said
    #[arg(long, requires = "subject", value_name = "NUMBER")]
    pods: Option<usize>,
    /// With `cluster`: build with this profile of cargo
    #[arg(long, requires = "subject", default_value = "release")]
    profile: String,
    /// Do everything once without measuring well; the page stays as it is
    #[arg(long)]
    quick: bool,
    /// Measure programs at system calls instead, on a kernel of the lab
    #[arg(long)]
    lab: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let Args { subject, plot, before, nodes, pods, profile, quick, lab } = args;
    integration::needs_root("the benchmark makes cgroups and network namespaces")?;
    setup::ensure(&[Part::Build, Part::System])?;
    if *subject == Some(Subject::Cluster) {
        setup::ensure(&[Part::Kube])?;
    }
    let program = integration::build_programs(&["bench", "victim"], profile)?.join("bench");
    let options = quick.then_some("--quick");
    let in_lab = |option: &str| {
        let Some(program) = program.to_str() else { bail!("{} is not UTF-8", program.display()) };
        let command = [program, option].into_iter().chain(options);
        vm::capture(KERNEL, command.map(str::to_owned).collect())
    };
    let here = |option: Option<&str>| {
        let mut command = Command::new(&program);
        capture(command.args(option).args(options).stderr(Stdio::inherit()))
    };
    let (figures, marks) = if *subject == Some(Subject::Cluster) {
        let mut command = Command::new(&program);
        command.args(["--cluster", "--profile", profile]).args(options);
        for (option, number) in [("--nodes", nodes), ("--pods", pods)] {
            if let Some(number) = number {
                command.arg(option).arg(number.to_string());
            }
        }
        let measured: cluster::Measured = read(&capture(command.stderr(Stdio::inherit()))?)?;
        (measured.table(), CLUSTER)
    } else if *subject == Some(Subject::Scale) {
        let mut command = Command::new(&program);
        command.arg("--scale").args(options);
        if let Some(before) = before {
            command.arg("--before").arg(before);
        }
        (capture(command.stderr(Stdio::inherit()))?, SCALE)
    } else if *subject == Some(Subject::Beside) {
        (here(Some("--beside"))?, BESIDE)
    } else if *subject == Some(Subject::Rate) {
        let measured: rates::Measured = read(&here(Some("--rates"))?)?;
        (measured.table(), RATES)
    } else if *subject == Some(Subject::Delay) {
        let native: delays::Measured = read(&here(Some("--delays"))?)?;
        let measured: delays::Measured = read(&in_lab("--delays")?)?;
        if *plot {
            let path = paths::workspace().join(plot::PAGE);
            plot::draw(&measured, &path)?;
            eprintln!("drawn to {}", plot::PAGE);
        }
        (format!("{}\n{}", native.table(), measured.table()), DELAYS)
    } else if *lab {
        (in_lab("--calls")?, LAB)
    } else {
        (here(None)?, HERE)
    };
    print!("{figures}");
    if *quick {
        return Ok(());
    }
    let path = paths::workspace().join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("read {PAGE}"))?;
    let page = insert(&page, &figures, &marks)
        .with_context(|| format!("{PAGE} lacks the lines {:?} and {:?}", marks.begin, marks.end))?;
    fs::write(&path, page).with_context(|| format!("write {PAGE}"))?;
    eprintln!("written to {PAGE}");
    Ok(())
}

/// Puts `figures` in the place of what stands between the marks.
fn insert(page: &str, figures: &str, Marks { begin, end }: &Marks) -> Option<String> {
    let (before, rest) = page.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}{figures}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_replace_figures_and_nothing_else() {
        let Marks { begin, end } = HERE;
        let page = format!("# Title\n{begin}old\nfigures\n{end}tail\n");
        let expected = format!("# Title\n{begin}new\n{end}tail\n");
        assert_eq!(insert(&page, "new\n", &HERE), Some(expected));
        assert_eq!(insert("no marks", "new", &HERE), None);
    }

    #[test]
    fn the_page_has_a_place_for_figures() {
        let page = fs::read_to_string(paths::workspace().join(PAGE)).unwrap();
        for marks in [HERE, LAB, DELAYS, RATES, SCALE, BESIDE, CLUSTER] {
            assert!(insert(&page, "", &marks).is_some(), "{}", marks.begin);
        }
    }
}
