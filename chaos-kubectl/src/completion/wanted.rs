//! Finds out which words may come next, by the definition of the command line. Pure.

use clap::{Arg, Command, CommandFactory as _, ValueHint};

use crate::cli::{Cli, ClusterArgs};

/// What may come next.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Words that are known.
    pub words: Vec<String>,
    pub kind: Kind,
    /// What the line says of the cluster.
    pub cluster: ClusterArgs,
}

/// What may come besides the words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Words,
    Files,
    Names(Of),
}

/// Which objects' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Runs,
    Experiments,
    Namespaces,
    Contexts,
    Pods,
    Workloads,
}

/// What may come as the last word.
pub fn wanted(words: &[String]) -> Wanted {
    let root = Cli::command();
    let mut command = &root;
    let mut wanted = Wanted {
        cluster: ClusterArgs {
            agent_namespace: "chaos-agent".to_owned(),
            ..ClusterArgs::default()
        },
        ..Wanted::default()
    };
    let (before, last) = match words.split_last() {
        Some((last, before)) => (before, last.as_str()),
        None => (words, ""),
    };
    let mut expects: Option<&Arg> = None;
    let mut positions = 0;
    for word in before {
        if let Some(option) = expects.take() {
            note(&mut wanted.cluster, option, word);
        } else if let Some((option, value)) = option(&root, command, word) {
            match value {
                Some(value) => note(&mut wanted.cluster, option, value),
                None if option.get_action().takes_values() => expects = Some(option),
                None => {}
            }
        } else if let Some(verb) = verb(command, word) {
            command = verb;
        } else if !word.starts_with('-') {
            positions += 1;
        }
    }
    if let Some(option) = expects {
        of_value(&mut wanted, command, option);
    } else if let Some((name, _)) = last.split_once('=').filter(|_| last.starts_with("--")) {
        if let Some((option, _)) = option(&root, command, name) {
            of_value(&mut wanted, command, option);
            wanted.words = wanted.words.iter().map(|word| format!("{name}={word}")).collect();
        }
    } else if last.starts_with('-') {
        let options = command.get_arguments().chain(root.get_arguments());
        let long =
            options.filter(|option| !option.is_hide_set()).filter_map(|option| option.get_long());
        wanted.words = long.map(|long| format!("--{long}")).collect();
    } else if command.has_subcommands() {
        wanted.words = command.get_subcommands().map(described).collect();
    } else {
        let value = command.get_positionals().nth(positions).or(command.get_positionals().last());
        if let Some(value) = value {
            of_value(&mut wanted, command, value);
        }
    }
    wanted
}

fn described(verb: &Command) -> String {
    match verb.get_about() {
        Some(about) => format!("{}\t{about}", verb.get_name()),
        None => verb.get_name().to_owned(),
    }
}

fn verb<'c>(command: &'c Command, word: &str) -> Option<&'c Command> {
    command
        .get_subcommands()
        .find(|verb| verb.get_name() == word || verb.get_all_aliases().any(|alias| alias == word))
}

/// The option that a word is, and the value behind its `=`.
fn option<'c, 'w>(
    root: &'c Command,
    command: &'c Command,
    word: &'w str,
) -> Option<(&'c Arg, Option<&'w str>)> {
    let mut all = command.get_arguments().chain(root.get_arguments());
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        return all.find(|one| one.get_long() == Some(name)).map(|one| (one, value));
    }
    let mut letters = word.strip_prefix('-')?.chars();
    let letter = letters.next()?;
    let value = letters.as_str();
    let option = all.find(|one| one.get_short() == Some(letter))?;
    Some((option, (!value.is_empty()).then_some(value)))
}

/// Keeps what the line says of the cluster.
fn note(cluster: &mut ClusterArgs, option: &Arg, value: &str) {
    match option.get_id().as_str() {
        "namespace" => cluster.namespace = Some(value.to_owned()),
        "context" => cluster.context = Some(value.to_owned()),
        "kubeconfig" => cluster.kubeconfig = Some(value.into()),
        "agent_namespace" => cluster.agent_namespace = value.to_owned(),
        _ => {}
    }
}

/// What may be the value of an option, or stand at a position.
fn of_value(wanted: &mut Wanted, command: &Command, argument: &Arg) {
    let id = argument.get_id().as_str();
    wanted.kind = match (command.get_name(), id) {
        (_, "namespace" | "agent_namespace") => Kind::Names(Of::Namespaces),
        (_, "context") => Kind::Names(Of::Contexts),
        (_, "kubeconfig" | "filename") => Kind::Files,
        ("watch" | "halt" | "report", "run") | ("report", "compare") => Kind::Names(Of::Runs),
        ("start", "experiment") => Kind::Names(Of::Experiments),
        ("why", "pod") => Kind::Names(Of::Pods),
        ("run" | "plan", "words") => Kind::Names(Of::Workloads),
        _ if argument.get_value_hint() == ValueHint::FilePath => Kind::Files,
        _ => Kind::Words,
    };
    let values = argument.get_possible_values();
    wanted.words = values.iter().map(|value| value.get_name().to_owned()).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &[&str]) -> Wanted {
        wanted(&line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_comes_next_follows_from_the_words_before() {
        assert!(of(&[""]).words.iter().any(|word| word.starts_with("halt\tHalt a Run")));
        assert!(of(&["halt", "--"]).words.contains(&"--reason".to_owned()));
        assert!(of(&["halt", "--"]).words.contains(&"--namespace".to_owned()));
        assert_eq!(of(&["run", "--mode", ""]).words, ["plan", "shadow", "armed"]);
        assert_eq!(of(&["run", "--mode=s"]).words[1], "--mode=shadow");
        assert_eq!(of(&["completion", ""]).words, ["bash", "zsh", "fish", "kubectl"]);
        for (line, kind) in [
            (&["-n", ""][..], Kind::Names(Of::Namespaces)),
            (&["watch", ""], Kind::Names(Of::Runs)),
            (&["halt", "--wait", ""], Kind::Names(Of::Runs)),
            (&["start", ""], Kind::Names(Of::Experiments)),
            (&["start", "--context", ""], Kind::Names(Of::Contexts)),
            (&["why", "po"], Kind::Names(Of::Pods)),
            (&["run", "deploy/"], Kind::Names(Of::Workloads)),
            (&["lint", "-f", ""], Kind::Files),
            (&["run", "--for", ""], Kind::Words),
        ] {
            assert_eq!(of(line).kind, kind, "{line:?}");
        }
        let cluster = of(&["watch", "-nshop", "--context=prod", "--kubeconfig", "x", ""]).cluster;
        assert_eq!(cluster.namespace.as_deref(), Some("shop"));
        assert_eq!(cluster.context.as_deref(), Some("prod"));
        assert_eq!(cluster.kubeconfig, Some("x".into()));
    }
}
