//! `bench [--quick] [--lab]`: measures what the agent costs and writes docs/benchmarks.md.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use xtask::paths;

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

#[derive(clap::Args)]
pub struct Args {
    /// Do everything once without measuring well; the page stays as it is
    #[arg(long)]
    quick: bool,
    /// Measure programs at system calls instead, on a kernel of the lab
    #[arg(long)]
    lab: bool,
}

pub fn run(Args { quick, lab }: &Args) -> Result<()> {
    integration::needs_root("the benchmark makes cgroups and network namespaces")?;
    setup::ensure(&[Part::Build, Part::System])?;
    let program = integration::build_programs(&["bench"])?.join("bench");
    let options = quick.then_some("--quick");
    let (figures, marks) = if *lab {
        let Some(program) = program.to_str() else { bail!("{} is not UTF-8", program.display()) };
        let command = [program, "--calls"].into_iter().chain(options);
        (vm::capture(KERNEL, command.map(str::to_owned).collect())?, LAB)
    } else {
        (capture(Command::new(program).args(options).stderr(Stdio::inherit()))?, HERE)
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
        for marks in [HERE, LAB] {
            assert!(insert(&page, "", &marks).is_some(), "{}", marks.begin);
        }
    }
}
