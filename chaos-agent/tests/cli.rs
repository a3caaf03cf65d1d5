//! The command line as a program: its screens, and what it says to wrong usage.
//!
//! Nothing here arms anything; `tests/native` of the workspace does.

use std::{
    fs,
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Command, Output, Stdio},
};

use caps::CapSet;
use chaos_engine::cgroup::CgroupRoot;

const AGENT: &str = env!("CARGO_BIN_EXE_chaos-agent");

const FEATURES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../chaos-plan/tests/features/linux-6.18.json");

/// (arguments, exit code, part of the message)
type Row = (&'static [&'static str], i32, &'static str);

/// Wrong whatever the machine.
const USAGE: &[Row] = &[
    (&[], 2, "Usage: chaos-agent"),
    (&["injcet"], 2, "a similar subcommand exists: 'inject'"),
    (&["doctor", "--output", "xml"], 2, "possible values: table, json"),
    (&["completions", "klingon"], 2, "invalid value 'klingon'"),
    (&["man", "--dir", "/dev/null/man1"], 1, "create /dev/null/man1"),
    // Faults.
    (&["run", "--", "true"], 2, "--fault <TEXT>|--faults <FILE>"),
    (&["run", "--fault", "drop"], 2, "<COMMAND>..."),
    (&["run", "--fualt", "drop", "--", "true"], 2, "a similar argument exists: '--fault'"),
    (&["run", "--fault", "", "--", "true"], 2, "--fault holds no fault"),
    (&["run", "--fault", "# drop", "--", "true"], 2, "--fault holds no fault"),
    (&["run", "--fault", "dorp", "--", "true"], 2, "did you mean `drop`?"),
    (&["run", "--fault", "drop", "--fault", "drop to", "--", "true"], 2, "--fault #2:1:6"),
    (&["run", "--fault", "fail conect with EIO", "--", "true"], 2, "`connect`"),
    (&["run", "--fault", "drop: {}\nchance: 0%", "--", "true"], 2, "never do anything"),
    (&["run", "--faults", "/nonexistent", "--", "true"], 2, "cannot read /nonexistent: No such"),
    (&["run", "--faults", "/", "--", "true"], 2, "cannot read /: Is a directory"),
    (&["run", "--faults", "/dev/zero", "--", "true"], 2, "/dev/zero is longer than 1 MiB"),
    (&["run", "--faults", AGENT, "--", "true"], 2, "valid UTF-8"),
    (&["run", "--fault", "delay from file /nonexistent", "--", "true"], 2, "cannot read /nonexist"),
    (&["run", "--fault", "delay from file /dev/null", "--", "true"], 2, "no latency here"),
    // What no kernel can do.
    (
        &["run", "--fault", "delay 100ms in container app", "--", "true"],
        1,
        "cannot `delay 100ms in container app`: `in container app`: the target is not a pod\n  help: leave",
    ),
    (
        &["inject", "--pid", "1", "--fault", "fail connect with EIO in container app"],
        1,
        "the target is not a pod",
    ),
    (
        &["run", "--fault", "drop to port 80 for 2h", "--", "true"],
        1,
        "`for 2h` is longer than the longest allowed, 1h\n  help: write `for 1h` or less, or allow more by",
    ),
    (&["agent"], 2, "`--standalone` to do without Kubernetes"),
    // Grafana.
    (&["controller", "--grafana-token-file", "x"], 2, "--grafana <URL>"),
    (&["controller", "--grafana", "grafana:3000"], 2, "such as http://grafana.monitoring:3000"),
    (&["controller", "--grafana", "http://a:b@grafana"], 2, "a token by --grafana-token-file"),
    (&["controller", "--grafana", "ftp://grafana"], 2, "write `http://` or `https://`"),
    // Terms.
    (&["run", "--fault", "drop", "--for", "soon", "--", "true"], 2, "`soon` is not a duration"),
    (&["run", "--fault", "drop", "--for", "2h", "--", "true"], 2, "at most 1h"),
    (&["run", "--fault", "drop", "--for", "2h", "--", "true"], 2, "`--longest 2h` allows it"),
    (&["inject", "--pid=1", "--fault=drop", "--for=90s", "--longest=1m"], 2, "at most 1m"),
    (&["run", "--fault", "drop", "--lease", "1ms", "--", "true"], 2, "at least 500ms"),
    (&["run", "--fault", "drop", "--seed", "-1", "--", "true"], 2, "'-1'"),
    (&["run", "--fault", "drop", "--report", "/none/x", "--", "true"], 2, "create /none/x"),
    // Targets that are no names of targets.
    (&["inject", "--fault", "drop"], 2, "--cgroup <PATH>|--pid <N>"),
    (&["inject", "--fault", "drop", "--pid", "7", "--unit", "x"], 2, "cannot be used with"),
    (&["inject", "--fault", "drop", "--cgroup", ""], 2, "a value is required for '--cgroup"),
    (&["inject", "--fault", "drop", "--pid", "0"], 2, "0 is not in 1..="),
    (&["inject", "--fault", "drop", "--pid", "init"], 2, "invalid digit"),
    (&["inject", "--fault", "drop", "--unit", "a/b"], 2, "the name of a systemd unit"),
    (&["inject", "--fault", "drop", "--container", "web"], 2, "12 to 64 hexadecimal digits"),
    // Plans.
    (&["explain", "--features", "/nonexistent", "--fault", "drop"], 2, "cannot read /nonexistent"),
    (&["explain", "--features", AGENT, "--fault", "drop"], 2, "cannot read"),
    (&["explain", "--features", "/dev/null", "--fault", "drop"], 2, "doctor --output json"),
];

/// Wrong on any machine that has cgroup v2.
const TARGETS: &[Row] = &[
    (&["inject", "--fault", "drop", "--pid", "4194304"], 2, "no process 4194304"),
    (&["inject", "--fault", "drop", "--cgroup", "/"], 2, "the root cgroup"),
    (&["inject", "--fault", "drop", "--cgroup", "/a/../b"], 2, "\"..\" is not allowed"),
    (&["inject", "--fault", "drop", "--cgroup", "/no/such"], 2, "no cgroup /no/such below"),
    (&["inject", "--fault", "drop", "--cgroup", "/sys/kernel"], 2, "where cgroup v2 is mounted"),
    (&["inject", "--fault", "drop", "--unit", "no-such"], 2, "no running unit no-such.service"),
    (&["inject", "--fault", "drop", "--container", "0123456789ab"], 2, "no container 0123456789ab"),
    (
        &["explain", "--features", FEATURES, "--fault", "drop", "--cgroup", "/no/such"],
        2,
        "no cgroup /no/such below",
    ),
];

#[test]
fn wrong_usage_has_one_clear_error_and_changes_nothing() {
    assert_all_refused(USAGE);
}

#[test]
fn bad_targets_have_one_clear_error_and_change_nothing() {
    if let Err(error) = CgroupRoot::discover() {
        eprintln!("skipped: {error}");
        return;
    }
    assert_all_refused(TARGETS);
}

fn assert_all_refused(rows: &[Row]) {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, code, message) in rows {
        let mut command = Command::new(AGENT);
        let output = command.args(*arguments).current_dir(&directory).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {errors}");
        assert!(errors.contains(message), "{arguments:?}: {errors}");
        assert!(!errors.contains("panicked") && !errors.contains('\u{1b}'), "{errors}");
        assert_eq!(
            errors.matches("error:").count(),
            usize::from(!arguments.is_empty()),
            "{errors}"
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(fs::read_dir(directory).unwrap().count(), 0, "something was written");
}

/// More networks than a rule set has room for.
#[test]
fn too_many_networks_are_the_reason_and_not_the_kernel() {
    let networks: Vec<String> =
        (0..8_193).map(|n| format!("172.{}.{}.0/28", 16 + n / 256, n % 256)).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, format!("drop to {}", networks.join(", "))).unwrap();
    let faults = file.path().to_str().unwrap();
    for verb in [["run", "--", "true"].as_slice(), &["inject", "--pid", "1"]] {
        let output = agent(&[&verb[..1], &["--faults", faults], &verb[1..]].concat());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert_eq!(
            errors,
            "error: cannot `drop to 172.16.0.0/28, 172.16.1.0/28 and 8191 more`: the fault needs 8193 IPv4 \
             prefixes, and a text has room for 8192\n  help: use fewer and larger networks or port ranges\n"
        );
    }
    let explained = agent(&["explain", "--features", FEATURES, "--faults", faults]);
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(
        explained.contains("drop to 172.16.0.0/28, 172.16.1.0/28 and 8191 more\n"),
        "{explained}"
    );
}

/// Without a right one sentence says so, and what does not need it is said all the same.
#[test]
fn without_rights_there_is_one_sentence() {
    let powerless = |arguments: &[&str]| {
        let mut command = Command::new(AGENT);
        command.args(arguments);
        // SAFETY: between fork and exec only prctl(2) and capset(2) are called.
        unsafe {
            command.pre_exec(|| {
                // Who may not drop them has none to begin with.
                drop(caps::clear(None, CapSet::Bounding));
                caps::clear(None, CapSet::Effective).map_err(io::Error::other)
            });
        }
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    // Root without capabilities is root in a container.
    let remedy = match nix::unistd::geteuid().is_root() {
        true => "grant the container CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_SYS_PTRACE",
        false => "run as root, such as by sudo",
    };
    // A long line is wrapped.
    let begins = &remedy[..9];
    let one_sentence = format!("error: no right to inject faults; {remedy}\n");
    for verb in [&["run", "--fault", "drop", "--", "true"][..], &["agent", "--standalone"]] {
        let (code, printed, errors) = powerless(verb);
        assert_eq!(
            (code, printed.as_str(), errors.as_str()),
            (Some(1), "", one_sentence.as_str()),
            "{verb:?}"
        );
    }
    let (code, printed, errors) = powerless(&["doctor"]);
    assert_eq!((code, errors.as_str()), (Some(1), ""));
    assert_eq!(printed.matches(begins).count(), 1, "{printed}");
    assert!(printed.contains("delay 100ms") && printed.contains("tcx/egress"), "{printed}");
    assert!(!printed.contains("Operation not permitted"), "{printed}");
    let (code, printed, _) = powerless(&["explain", "--fault", "drop to port 80"]);
    assert_eq!(code, Some(1));
    assert_eq!(printed.matches(begins).count(), 1, "{printed}");
    assert!(printed.contains("means  packets that leave for port 80\n"), "{printed}");
    let (code, printed, _) =
        powerless(&["explain", "--output=json", "--fault=drop in container x"]);
    let plan: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, &plan["tried"]), (Some(1), &serde_json::Value::Bool(false)));
    assert!(plan["refused"][0]["reason"].as_str().unwrap().contains("not a pod"));
}

#[test]
fn screens() {
    trycmd::TestCases::new().case("tests/screens/*.trycmd");
}

fn agent(arguments: &[&str]) -> Output {
    Command::new(AGENT).args(arguments).output().unwrap()
}

#[test]
fn a_plan_as_json() {
    let output = agent(&[
        "explain",
        "--output=json",
        "--seed=7",
        "--features",
        FEATURES,
        "--fault=fail connect with EIO 10% port 80; skew clock by +1d",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        plan["rules"][0]["hooks"],
        serde_json::json!(["cgroup/connect4", "cgroup/connect6"])
    );
    assert_eq!(plan["rules"][0]["seed"], 7);
    assert_eq!(plan["refused"][0]["fault"], "skew clock by +1d");
    assert_eq!(plan["refused"][0]["index"], 1);
}

#[test]
fn a_random_seed_differs_and_can_be_given_back() {
    let seed = |more: &[&str]| {
        let arguments = ["explain", "--output=json", "--features", FEATURES, "--fault=drop 5%"];
        let output = agent(&[&arguments, more].concat());
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        plan["rules"][0]["seed"].as_u64().unwrap()
    };
    let first = seed(&[]);
    assert_ne!(first, seed(&[]));
    assert_eq!(first, seed(&["--seed", &first.to_string()]));
}

#[test]
fn faults_from_standard_input() {
    let mut child = Command::new(AGENT)
        .args(["explain", "--features", FEATURES, "--faults", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"- drop: {}\n  chance: 10%\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("drop 10%"));
}

#[test]
fn completions_and_manual_pages_name_every_verb() {
    let directory = tempfile::tempdir().unwrap();
    assert!(agent(&["man", "--dir", directory.path().to_str().unwrap()]).status.success());
    let bash = String::from_utf8(agent(&["completions", "bash"]).stdout).unwrap();
    for verb in ["run", "inject", "explain", "doctor", "completions", "man"] {
        let page = fs::read_to_string(directory.path().join(format!("chaos-agent-{verb}.1")));
        assert!(page.unwrap().contains(".SH SYNOPSIS"), "{verb}");
        assert!(bash.contains(&format!("chaos__agent__subcmd__{verb}")), "{verb}");
    }
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(!agent(&["completions", shell]).stdout.is_empty(), "{shell}");
    }
}
