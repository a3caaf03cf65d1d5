//! The commands that the documentation and the samples for pipelines show, as this program reads them.

use std::{fs, path::Path};

use serde_json::Value;

use super::*;

/// The lines of a file of the repository.
fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words of a command line, as a shell splits it. What is behind a redirection, a pipe or a `;` is left out.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut quote = None;
    for character in line.chars() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), within) => words.last_mut().unwrap().push(within),
            (None, '\'' | '"') => quote = Some(character),
            (None, '>' | '|' | ';' | '#') => break,
            (None, blank) if blank.is_whitespace() => words.push(String::new()),
            (None, other) => words.last_mut().unwrap().push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The arguments of each command of this program in a text.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        let line = line.trim().trim_start_matches("$ ").trim_start_matches("exec ");
        let words = words(line);
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["kubectl", "chaos", ..] => commands.push(words[2..].to_vec()),
            ["kubectl-chaos", ..] => commands.push(words[1..].to_vec()),
            _ => {}
        }
    }
    commands
}

fn assert_read(arguments: &[String], place: &str) {
    let words = std::iter::once("kubectl-chaos").chain(arguments.iter().map(String::as_str));
    if let Err(error) = Cli::try_parse_from(words) {
        // The help is an answer.
        let is_help = error.kind() == clap::error::ErrorKind::DisplayHelp;
        assert!(is_help, "{place}: {arguments:?}: {error}");
    }
}

/// Every text in a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

#[test]
fn the_documentation_shows_commands_that_are_read() {
    for (path, least) in [
        ("docs/kubectl.md", 15),
        ("docs/ci.md", 3),
        ("docs/experiments.md", 0),
        ("docs/tutorial.md", 6),
        ("docs/troubleshooting.md", 3),
        ("docs/migration.md", 5),
        ("docs/operations.md", 1),
        ("docs/failures.md", 2),
    ] {
        let found = commands(&text(path));
        assert!(found.len() >= least, "{path}: {found:?}");
        found.iter().for_each(|command| assert_read(command, path));
    }
}

#[test]
fn the_samples_for_pipelines_are_yaml_with_commands_that_are_read() {
    let read = |name: &str| -> Value {
        serde_saphyr::from_str(&text(&format!("docs/ci/{name}"))).unwrap()
    };
    for (name, verbs) in [
        ("github.yaml", &["lint", "run", "report", "report", "report"][..]),
        ("gitlab.yaml", &["report", "report", "lint", "run"]),
        ("flagger.yaml", &["run"]),
    ] {
        let sample = read(name);
        let found: Vec<Vec<String>> = texts(&sample).into_iter().flat_map(commands).collect();
        let mut first: Vec<&str> = found.iter().map(|command| command[0].as_str()).collect();
        let mut verbs = verbs.to_vec();
        first.sort_unstable();
        verbs.sort_unstable();
        assert_eq!(first, verbs, "{name}");
        found.iter().for_each(|command| assert_read(command, name));
    }
    let job = &read("argo-rollouts.yaml")["spec"]["metrics"][0]["provider"]["job"]["spec"];
    let container = &job["template"]["spec"]["containers"][0];
    let of = |field: &str| texts(&container[field]).into_iter().map(str::to_owned).collect();
    let (command, arguments): (Vec<String>, Vec<String>) = (of("command"), of("args"));
    assert_eq!(command[0], "kubectl-chaos");
    assert_read(&[&command[1..], &arguments[..]].concat(), "argo-rollouts.yaml");
    // A second try would break the pods twice, and hide what the first one saw.
    assert_eq!(
        (&job["backoffLimit"], &job["template"]["spec"]["restartPolicy"]),
        (&0.into(), &"Never".into())
    );
}
