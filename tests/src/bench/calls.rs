//! A system call that is answered from outside the kernel: by a supervisor, and by strace.

use std::{env, process::Command};

use anyhow::{Context, Result, ensure};
use chaos_tests::program;

use crate::{
    experiments::{Row, Section},
    rounds::{Effort, alternate},
};

/// Calls that the victim makes for each batch of the effort.
const CALLS_A_BATCH: u32 = 100;

/// What the victim runs under: a program and its arguments.
const VARIANTS: [(&str, &[&str]); 5] = [
    ("strace -e inject=getppid:error=EPERM", &["strace", "-e", "inject=getppid:error=EPERM"]),
    ("run: fail getppid with EPERM", &["", "fail getppid with EPERM"]),
    ("run: a rule for getppid that spares", &["", "fail getppid with EPERM 0.000001%"]),
    ("run: a rule for another call", &["", "fail getpgrp with EPERM"]),
    ("nothing", &[]),
];

pub fn measure(effort: Effort) -> Result<Section> {
    let samples = alternate(effort.rounds, VARIANTS.len(), |variant| {
        let (what, words) = VARIANTS[variant];
        run(words, effort.batches * CALLS_A_BATCH).with_context(|| what.to_owned())
    })?;
    let base = samples[0].clone();
    let rows =
        VARIANTS.into_iter().zip(samples).enumerate().map(|(index, ((what, _), figures))| {
            let ratio = (index > 0).then(|| figures.over(&base));
            Row { what, figures, ratio, aim: None }
        });
    Ok(Section {
        title: "A system call answered in user space",
        unit: "ns a call",
        rows: rows.collect(),
    })
}

fn run(words: &[&str], calls: u32) -> Result<f64> {
    let bench = env::current_exe().context("find the benchmark's program")?;
    let mut command = match words {
        ["strace", options @ ..] => {
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null"]).args(options).arg(bench);
            strace
        }
        [_, fault] => {
            let mut run = Command::new(program::agent()?);
            run.args(["run", "--quiet", "--fault", fault, "--"]).arg(bench);
            run
        }
        _ => Command::new(bench),
    };
    let output =
        command.args(["caller", "getppid", &calls.to_string()]).output().context("start it")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let printed = String::from_utf8(output.stdout)?;
    printed
        .lines()
        .last()
        .unwrap_or_default()
        .parse()
        .with_context(|| format!("it printed {printed:?}"))
}
