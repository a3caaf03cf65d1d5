//! `bench [--quick]`: measures what the agent costs and writes docs/benchmarks.md.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use xtask::paths;

use crate::{
    command::capture,
    integration,
    setup::{self, Part},
};

const PAGE: &str = "docs/benchmarks.md";
/// The figures stand between these lines.
const BEGIN: &str = "<!-- bench:begin -->\n";
const END: &str = "<!-- bench:end -->\n";

#[derive(clap::Args)]
pub struct Args {
    /// Do everything once without measuring well; the page stays as it is
    #[arg(long)]
    quick: bool,
}

pub fn run(Args { quick }: &Args) -> Result<()> {
    integration::needs_root("the benchmark makes cgroups and network namespaces")?;
    setup::ensure(&[Part::Build, Part::System])?;
    let mut bench = Command::new(integration::build_programs(&["bench"])?.join("bench"));
    if *quick {
        bench.arg("--quick");
    }
    let figures = capture(bench.stderr(Stdio::inherit()))?;
    print!("{figures}");
    if *quick {
        return Ok(());
    }
    let path = paths::workspace().join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("read {PAGE}"))?;
    let page = insert(&page, &figures)
        .with_context(|| format!("{PAGE} lacks the lines {BEGIN:?} and {END:?}"))?;
    fs::write(&path, page).with_context(|| format!("write {PAGE}"))?;
    eprintln!("written to {PAGE}");
    Ok(())
}

/// Puts `figures` in the place of what stands between the markers.
fn insert(page: &str, figures: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{figures}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_replace_figures_and_nothing_else() {
        let page = format!("# Title\n{BEGIN}old\nfigures\n{END}tail\n");
        assert_eq!(insert(&page, "new\n"), Some(format!("# Title\n{BEGIN}new\n{END}tail\n")));
        assert_eq!(insert("no markers", "new"), None);
    }

    #[test]
    fn the_page_has_a_place_for_figures() {
        let page = fs::read_to_string(paths::workspace().join(PAGE)).unwrap();
        assert!(insert(&page, "").is_some());
    }
}
