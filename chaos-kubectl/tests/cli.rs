//! The program itself, as far as it needs no cluster.

use std::{
    fs,
    process::{Command, Output},
};

const PLUGIN: &str = env!("CARGO_BIN_EXE_kubectl-chaos");

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(PLUGIN);
    command.args(arguments).env("KUBECONFIG", "/nonexistent").env("HOME", "/nonexistent");
    command.env_remove("KUBERNETES_SERVICE_HOST").output().unwrap()
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn wrong_usage_says_what_would_be_right() {
    let directory = tempfile::tempdir().unwrap();
    let refused = directory.path().join("config");
    let cluster = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}], "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}]}"#;
    fs::write(&refused, cluster).unwrap();
    let config = format!("--kubeconfig={}", refused.display());
    for (arguments, code, expected) in [
        (&[][..], 2, "Usage: kubectl chaos"),
        (&["hlat"], 2, "a similar subcommand exists: 'halt'"),
        (&["halt"], 2, "<RUN|--all|--cluster>"),
        (&["halt", "--cluster"], 2, "--reason <TEXT>"),
        (&["list"], 1, "no cluster is configured"),
        (&["list", "--context", "prod"], 1, "no cluster is configured"),
        (&["list", &config], 1, "the API server http://127.0.0.1:1/ does not answer"),
        (&["doctor", &config], 1, "does not answer"),
        (&["run", &config, "web", "drop for 1m"], 2, "write deploy/NAME"),
        (&["run", &config, "deploy/web", "dorp for 1m"], 2, "did you mean `drop`?"),
        (&["run", &config, "deploy/web", "drop"], 2, "`--for 1m`"),
        (&["run", &config, "-f", "/nonexistent"], 1, "cannot read /nonexistent: No such file"),
        (&["why", &config, "deploy/web"], 2, "write pod/NAME"),
        (&["lint", "-f", "/nonexistent"], 1, "cannot read /nonexistent"),
    ] {
        let output = run(arguments);
        let (_, errors) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
}

#[test]
fn lint_tells_all_mistakes_of_all_files() {
    let directory = tempfile::tempdir().unwrap();
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/samples");
    let output = run(&["lint", "-f", samples]);
    let (printed, notes) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(printed.starts_with("no mistakes in ") && printed.ends_with(" objects\n"), "{printed}");
    assert!(notes.contains("pod-annotated.yaml:") && notes.contains("skipped: Pod"), "{notes}");
    let good = fs::read_to_string(format!("{samples}/experiment.yaml")).unwrap();
    for (name, text) in [
        ("a.yaml", good.replace("do: drop", "do: dorp")),
        ("b.yml", good.replace("steps:", "stpes:")),
        ("c.txt", "kind: [".to_owned()),
    ] {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let output = run(&["lint", "--filename", &directory.path().display().to_string()]);
    let (printed, _) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    for expected in ["a.yaml:", "did you mean `drop`?", "b.yml:", "did you mean `steps`?"] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    assert!(!printed.contains("c.txt"), "{printed}");
}

#[test]
fn shells_and_kubectl_can_complete() {
    for (shell, expected) in [
        ("bash", "kubectl-chaos"),
        ("zsh", "#compdef kubectl-chaos"),
        ("fish", "complete -c kubectl-chaos"),
        ("kubectl", "exec kubectl-chaos __complete"),
    ] {
        let (printed, _) = texts(&run(&["completion", shell]));
        assert!(printed.contains(expected), "{shell}: {printed}");
    }
    let (printed, _) = texts(&run(&["__complete", "ha"]));
    assert_eq!(
        printed,
        "halt\tHalt a Run, all Runs of the namespace, or everything in the cluster\n:4\n"
    );
    // Without a cluster there are no names, and nothing is said of that.
    let (printed, errors) = texts(&run(&["__complete", "watch", ""]));
    assert_eq!((printed.as_str(), errors.as_str()), (":4\n", ""));
}
