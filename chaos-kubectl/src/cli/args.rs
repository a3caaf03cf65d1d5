//! Defines the arguments of each verb.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{ArgGroup, Args, ValueEnum};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Json,
    Yaml,
    Name,
}

/// How much of a Run is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeName {
    /// Nothing is touched, and the status says what would be done
    Plan,
    /// The kernel counts what would be hit, and hits nothing
    Shadow,
    /// Faults are in force
    Armed,
}

/// What follows when a probe fails while pods are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DuringName {
    /// The Run ends, and its faults are taken away
    #[value(name = "Halt")]
    Halt,
    /// It is noted; whether it holds again afterwards decides
    #[value(name = "Record")]
    Record,
    /// It has to fail, at least once
    #[value(name = "MustBreak")]
    MustBreak,
}

/// The value of a parameter, `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    pub name: String,
    pub value: String,
}

impl FromStr for Param {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((_, value)) if value.contains(char::is_control) => {
                Err("a value has no line break, nor another control character".to_owned())
            }
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("write NAME=VALUE, such as latency=400ms".to_owned()),
        }
    }
}

fn duration(word: &str) -> Result<Duration, String> {
    chaos_fault::parse_duration(word).map_err(|mistake| mistake.message)
}

/// What is to be run.
#[derive(Debug, Clone, Args)]
pub struct What {
    /// A target (deploy/NAME, statefulset/NAME, daemonset/NAME, replicaset/NAME, pod/NAME) and what is done to it,
    /// such as 'drop 20% egress tcp for 1m'
    #[arg(num_args = 0..=2, value_names = ["TARGET", "SENTENCES"], required_unless_present = "filename",
          conflicts_with = "filename")]
    pub words: Vec<String>,
    /// Instead of a target: the labels of the pods, such as app=web,track!=canary
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "filename")]
    pub selector: Option<String>,
    /// How many of the pods: a number, a share such as 50%, or all; 1, if nothing is said
    #[arg(long, value_name = "HOW MANY", conflicts_with = "filename")]
    pub pick: Option<String>,
    /// How long, if the sentence does not say it
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, conflicts_with = "filename")]
    pub lasting: Option<Duration>,
    /// Only this container of the pods; may be given several times
    #[arg(short, long = "container", value_name = "NAME", conflicts_with = "filename")]
    pub containers: Vec<String>,
    /// What must hold before, while and after pods are broken, such as 'http://frontend/cart expect status < 500',
    /// 'tcp://db:5432' or 'prometheus QUERY expect value < 0.01'; a host without a dot is a Service of the namespace.
    /// May be given several times
    #[arg(long = "probe", value_name = "PROBE", conflicts_with = "filename")]
    pub probes: Vec<String>,
    /// What follows when a probe fails while pods are broken; Halt, if nothing is said
    #[arg(long, value_enum, ignore_case = true, requires = "probes")]
    pub during: Option<DuringName>,
    /// What is believed of the service, for people
    #[arg(long, value_name = "TEXT", conflicts_with = "filename")]
    pub hypothesis: Option<String>,
    /// A file with an Experiment or a Run; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    pub filename: Option<PathBuf>,
    /// The value of a parameter of the Experiment; may be given several times
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<Param>,
    /// What the Run is called; the server completes a name, if nothing is said
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// Whether the end is waited for.
#[derive(Debug, Clone, Args)]
pub struct WaitArgs {
    /// Watch the Run until it ends; the exit code tells how it did
    #[arg(short, long)]
    pub wait: bool,
    /// Ctrl-C and SIGTERM halt the Run, while it is made and waited for; a second signal leaves at once
    #[arg(long, requires = "wait")]
    pub halt_on_interrupt: bool,
    /// When the Run has ended, write its report into a file, such as junit=chaos.xml, whole or not at all; md, html, json
    /// or junit. May be given several times
    #[arg(long = "report", value_name = "FORMAT=FILE", requires = "wait")]
    pub reports: Vec<ReportFile>,
}

/// Run a fault on pods, or an Experiment from a file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl chaos run deploy/web 'drop 20% egress tcp for 1m' --pick 50% --wait
  kubectl chaos run -l app=web,track!=canary 'delay 200ms jitter 20ms egress tcp to 10.96.0.12' --for 5m
  kubectl chaos run deploy/cart 'kill container for 2m' --probe 'http://frontend/cart expect status < 500' --wait
  kubectl chaos run -f slow-payments.yaml --param latency=400ms --mode shadow")]
pub struct RunArgs {
    #[command(flatten)]
    pub what: What,
    /// How much is done; armed, if nothing is said
    #[arg(long, value_enum)]
    pub mode: Option<ModeName>,
    #[command(flatten)]
    pub wait: WaitArgs,
    /// How the Run is printed; its name, if nothing is said
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// Run an Experiment of the cluster
#[derive(Debug, Args)]
pub struct StartArgs {
    /// The name of the Experiment
    pub experiment: String,
    /// The value of a parameter; may be given several times
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<Param>,
    /// How much is done; armed, if nothing is said
    #[arg(long, value_enum)]
    pub mode: Option<ModeName>,
    /// What the Run is called; the server completes a name, if nothing is said
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub wait: WaitArgs,
    /// How the Run is printed; its name, if nothing is said
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// Say what a Run would do, for the pods and kernels that are there, and touch nothing
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code: 0 it can be done, 4 it is refused.

Examples:
  kubectl chaos plan deploy/web 'drop 20% egress tcp for 1m' --pick 50%
  kubectl chaos plan -f slow-payments.yaml")]
pub struct PlanArgs {
    #[command(flatten)]
    pub what: What,
    /// How long to wait for the controller
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub timeout: Duration,
    /// How the result is printed; for people, if nothing is said
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// Watch a Run until it ends; the exit code tells how it did
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The name of the Run, or NAMESPACE/NAME
    pub run: String,
    /// How the Run is printed when it has ended; for people, if nothing is said
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
    /// When the Run has ended, write its report into a file, such as junit=chaos.xml; may be given several times
    #[arg(long = "report", value_name = "FORMAT=FILE")]
    pub reports: Vec<ReportFile>,
}

/// Show all Runs that go on, and halt one at the press of a key
#[derive(Debug, Args)]
#[command(after_help = "\
Keys: j and k (or the arrows) choose a Run, h halts it after a y, q quits.")]
pub struct TopArgs {
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Print them once, as lines; so it is also where standard output is no terminal
    #[arg(long)]
    pub once: bool,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Markdown
    Md,
    /// One page that needs nothing else, with charts
    Html,
    Json,
    /// JUnit's XML, for CI systems
    Junit,
}

/// Into which file a report is written, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    pub format: ReportFormat,
    pub path: PathBuf,
}

impl FromStr for ReportFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((format, path)) if !path.is_empty() => {
                let format = ReportFormat::from_str(format, false).map_err(|_| {
                    format!("`{format}` is no form of a report; write md, html, json or junit")
                })?;
                Ok(Self { format, path: PathBuf::from(path) })
            }
            _ => Err("write FORMAT=FILE, such as junit=chaos.xml".to_owned()),
        }
    }
}

/// Report on a Run: verdict, hypothesis, probes, steps, pods; or compare two Runs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl chaos report slow-payments-7k2
  kubectl chaos report slow-payments-7k2 -o html --file report.html
  kubectl chaos report slow-payments-7k2 -o junit --exit-code --file chaos.xml
  kubectl chaos report slow-payments-7k2 --compare slow-payments-4fd")]
pub struct ReportArgs {
    /// The name of the Run, or NAMESPACE/NAME
    pub run: String,
    /// In which form
    #[arg(short, long, value_enum, default_value = "md")]
    pub output: ReportFormat,
    /// Another Run, or NAMESPACE/NAME: both side by side, what differs first
    #[arg(long, value_name = "OTHER")]
    pub compare: Option<String>,
    /// Write it into a file, whole or not at all, and not on standard output
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Exit as `run --wait` of this Run would have; 4 while it goes on. Without this, 0
    #[arg(long)]
    pub exit_code: bool,
}

/// List Runs
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// How they are printed; as a table, if nothing is said
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// Halt a Run, all Runs of the namespace, or everything in the cluster
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["run", "all", "cluster"]).required(true))]
#[command(after_help = "\
Examples:
  kubectl chaos halt slow-payments-7k2 --reason INC-4711 --wait
  kubectl chaos halt --all -n shop
  kubectl chaos halt --cluster --reason INC-4711")]
pub struct HaltArgs {
    /// The name of the Run, or NAMESPACE/NAME
    pub run: Option<String>,
    /// Every Run of the namespace that goes on
    #[arg(long)]
    pub all: bool,
    /// Every fault of every annotation in the cluster, and no new ones until `resume --cluster`
    #[arg(long, requires = "reason")]
    pub cluster: bool,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Wait until no fault is armed any more, by what the agents say on the pods
    #[arg(short, long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    pub timeout: Duration,
}

/// Let Runs begin again after `halt --cluster`
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The whole cluster: what was halted stays ended
    #[arg(long, required = true)]
    pub cluster: bool,
}

/// Say who breaks a pod, since when and until when, and what keeps faults from being armed
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// `pod/NAME`, or the name
    pub pod: String,
    /// How it is printed; for people, if nothing is said
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// Check what experiments need: agents, controller, guard, definitions, policies, the namespace, your rights
#[derive(Debug, Args)]
#[command(after_help = "Exit code: 0 everything is as it should be, 1 something is wrong.")]
pub struct DoctorArgs {
    /// How it is printed; for people, if nothing is said
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// Check files with Experiments and Runs, without a cluster
#[derive(Debug, Args)]
#[command(after_help = "Exit code: 0 no mistakes, 1 mistakes.")]
pub struct LintArgs {
    /// A file, a directory (its *.yaml, *.yml and *.json, at any depth), or `-` for standard input; may be given several
    /// times
    #[arg(short, long, value_name = "FILE", required = true, num_args = 1..)]
    pub filename: Vec<PathBuf>,
}

/// For which program a script is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Script {
    Bash,
    Zsh,
    Fish,
    /// The program `kubectl_complete-chaos`, by which kubectl completes `kubectl chaos`
    Kubectl,
}

/// Print a script that completes command lines
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl chaos completion kubectl > ~/.local/bin/kubectl_complete-chaos; chmod +x ~/.local/bin/kubectl_complete-chaos
  source <(kubectl chaos completion bash)")]
pub struct CompletionArgs {
    /// For what
    #[arg(value_enum)]
    pub shell: Script,
}
