//! Follows docs/tutorial.md word by word: a shell runs its commands in their order, and each prints what the page says.

use std::{
    env, fs,
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use chaos_tests::{control_plane::Identity, program};
use libtest_mimic::Completion;
use xtask::paths::workspace;

use crate::{leave_out_what_takes_minutes, scene::Scene};

const PAGE: &str = "docs/tutorial.md";

/// What stands in the page for what differs from time to time; alone in a line, for any lines.
const ANY: char = '…';

/// What the shell prints behind each command, with its exit code.
const MARK: &str = "=== that was the command, exit code";

/// Longer than the page takes; each of its commands ends by itself.
const PATIENCE: &str = "900";

/// A command of the page.
#[derive(Debug)]
struct Act {
    command: String,
    /// Lines that it prints, in their order.
    prints: Vec<String>,
}

pub fn the_tutorial_does_what_it_says(scene: &Scene) -> Result<Completion> {
    if let Some(left_out) = leave_out_what_takes_minutes() {
        return Ok(left_out);
    }
    let page = fs::read_to_string(workspace().join(PAGE)).with_context(|| PAGE)?;
    let acts = acts(&page);
    ensure!(acts.len() >= 15, "{PAGE} has few commands: {acts:#?}");
    let said = follow(scene, &acts)?;
    let parts: Vec<&str> = said.split(MARK).collect();
    for (index, act) in acts.iter().enumerate() {
        // The exit code stands behind the mark, in front of what the next command prints.
        let rest = |text: &str| text.split_once('\n').map(|(_, rest)| rest.to_owned());
        let printed = match index {
            0 => parts[0].to_owned(),
            _ => parts.get(index).and_then(|part| rest(part)).unwrap_or_default(),
        };
        let code = parts.get(index + 1).and_then(|part| part.lines().next()).map(str::trim);
        ensure!(code == Some("0"), "{}: exit code {code:?}\n{printed}", act.command);
        if let Some(missing) = missing(&act.prints, &printed) {
            bail!("{}: expected {missing:?} in\n{printed}", act.command);
        }
    }
    Ok(Completion::Completed)
}

/// The commands of the page's consoles: lines behind `$ `, with those that a backslash continues.
fn acts(page: &str) -> Vec<Act> {
    let consoles = page.split("```console\n").skip(1);
    let consoles = consoles.filter_map(|rest| rest.split("\n```").next());
    let mut acts: Vec<Act> = Vec::new();
    for console in consoles {
        let mut is_continued = false;
        for line in console.lines() {
            match (line.strip_prefix("$ "), acts.last_mut()) {
                (None, Some(act)) if is_continued => {
                    act.command.push('\n');
                    act.command.push_str(line);
                }
                (Some(command), _) => {
                    acts.push(Act { command: command.to_owned(), prints: Vec::new() });
                }
                (None, Some(act)) => act.prints.push(line.to_owned()),
                (None, None) => {}
            }
            is_continued = line.ends_with('\\');
        }
    }
    acts
}

/// Runs all commands in one shell, until one fails. What they print, with a mark behind each.
fn follow(scene: &Scene, acts: &[Act]) -> Result<String> {
    let plane = scene.node.plane();
    // kubectl finds the plugin by its name, and keeps a cache at home.
    let home = tempfile::tempdir().context("make a directory for programs")?;
    for (name, program) in
        [("kubectl", plane.kubectl_path().to_owned()), ("kubectl-chaos", program::plugin()?)]
    {
        let link = home.path().join(name);
        symlink(&program, &link).with_context(|| format!("link {}", program.display()))?;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let path = [home.path().to_owned()].into_iter().chain(env::split_paths(&path));
    let mut script = "exec 2>&1\n".to_owned();
    for Act { command, .. } in acts {
        script.push_str(&format!(
            "{command}\ncode=$?; printf '%s %s\\n' '{MARK}' \"$code\"; [ \"$code\" = 0 ] || exit 0\n"
        ));
    }
    let mut shell: Command = plane.command("timeout");
    shell.args([PATIENCE, "sh", "-c", &script]).current_dir(workspace()).stdin(Stdio::null());
    shell.env("KUBECONFIG", plane.kubeconfig(Identity::Admin)).env("HOME", home.path());
    shell.env("PATH", env::join_paths(path).context("extend PATH")?);
    let output = shell.output().context("run a shell")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "the shell ended with {}: {said}", output.status);
    Ok(said)
}

/// The first of the expected lines that was not printed behind those before it.
fn missing<'a>(expected: &'a [String], printed: &str) -> Option<&'a str> {
    let mut lines = printed.lines();
    let is_any = |line: &str| line.trim().chars().all(|sign| sign == ANY);
    let mut wanted = expected.iter().filter(|line| !is_any(line));
    wanted.find(|wanted| !lines.any(|line| is_like(wanted, line))).map(String::as_str)
}

/// Whether a line is as the page has it, however wide its columns are.
fn is_like(wanted: &str, line: &str) -> bool {
    let (wanted, line) = (in_single_spaces(wanted), in_single_spaces(line));
    let parts: Vec<&str> = wanted.split(ANY).collect();
    let [first, middle @ .., last] = parts.as_slice() else { return wanted == line };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for part in middle {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

fn in_single_spaces(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
