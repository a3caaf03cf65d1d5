//! Defines the command line.

mod args;
#[cfg(test)]
mod samples;

use std::path::PathBuf;

pub use args::{
    CompletionArgs, DoctorArgs, DuringName, HaltArgs, LintArgs, ListArgs, ModeName, Output, Param,
    PlanArgs, ReportArgs, ReportFile, ReportFormat, ResumeArgs, RunArgs, Script, StartArgs,
    TopArgs, WaitArgs, WatchArgs, What, WhyArgs,
};
use chaos_api::kinds::During;
use clap::{Args, Parser, Subcommand};

/// Break pods on purpose: begin, watch, halt and explain experiments of chaos-agent
///
/// It has the rights of your kubeconfig and no others.
///
/// Exit codes: 0 done (a Run: Confirmed, and its hypothesis Held or without probes; or Planned), 1 something is wrong, 2
/// wrong usage, 3 the hypothesis Deviated, 4 nothing is proven (a Run that was refused, failed, or is not Confirmed), 5
/// something else ended a Run (people, hours, ceilings or the label of its namespace, the halt of the cluster; or it was
/// deleted), 130 interrupted while the Run goes on.
#[derive(Debug, Parser)]
#[command(name = "kubectl-chaos", bin_name = "kubectl chaos", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Which cluster, and where in it.
#[derive(Debug, Clone, Default, Args)]
pub struct ClusterArgs {
    /// The namespace of Runs and pods; that of the context, if nothing is said
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig; KUBECONFIG or ~/.kube/config, if nothing is said
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of the agents, and of the guard's Lease
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "chaos-agent",
        hide_short_help = true
    )]
    pub agent_namespace: String,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Run(Box<RunArgs>),
    Start(StartArgs),
    Plan(Box<PlanArgs>),
    Watch(WatchArgs),
    Top(TopArgs),
    Report(ReportArgs),
    #[command(visible_alias = "get")]
    List(ListArgs),
    Halt(HaltArgs),
    Resume(ResumeArgs),
    Why(WhyArgs),
    Doctor(DoctorArgs),
    Lint(LintArgs),
    Completion(CompletionArgs),
}

impl ModeName {
    /// As the field `mode` has it.
    pub fn in_spec(self) -> &'static str {
        match self {
            Self::Plan => "Plan",
            Self::Shadow => "Shadow",
            Self::Armed => "Armed",
        }
    }
}

impl DuringName {
    /// As the field `during` has it.
    pub fn in_spec(self) -> During {
        match self {
            Self::Halt => During::Halt,
            Self::Record => During::Record,
            Self::MustBreak => During::MustBreak,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_stand_before_and_behind_the_verb() {
        let cli = Cli::try_parse_from([
            "kubectl-chaos",
            "--context",
            "prod",
            "run",
            "deploy/web",
            "drop for 1m",
            "-n",
            "shop",
            "--pick",
            "50%",
            "--param",
            "a=b=c",
        ])
        .unwrap();
        assert_eq!(cli.cluster.context.as_deref(), Some("prod"));
        assert_eq!(cli.cluster.namespace.as_deref(), Some("shop"));
        let Verb::Run(run) = cli.verb else { panic!("{:?}", cli.verb) };
        assert_eq!(run.what.words, ["deploy/web", "drop for 1m"]);
        assert_eq!(run.what.params, [Param { name: "a".into(), value: "b=c".into() }]);
        for wrong in [
            &["run", "--wait", "--halt-on-interrupt", "--mode", "loud", "-f", "x"][..],
            &["halt"],
            &["halt", "x", "--all"],
            &["halt", "--cluster"],
            &["resume"],
            &["run", "-f", "x", "--param", "novalue"],
            &["run", "-f", "x", "--param", "a=b\nc"],
            &["run", "-f", "x", "--probe", "http://web"],
            &["run", "deploy/web", "drop for 1m", "--during", "Halt"],
            &["report", "x", "-o", "pdf"],
            &["run", "-f", "x", "--report", "junit=chaos.xml"],
            &["run", "-f", "x", "--wait", "--report", "chaos.xml"],
            &["run", "-f", "x", "--wait", "--report", "pdf=chaos.pdf"],
            &["watch", "x", "--report", "junit="],
            &["lint"],
        ] {
            let words = ["kubectl-chaos"].iter().chain(wrong);
            assert!(Cli::try_parse_from(words).is_err(), "{wrong:?}");
        }
    }
}
