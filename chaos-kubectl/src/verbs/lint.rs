//! `lint`: checks files, without a cluster.

use std::io::IsTerminal as _;

use crate::{
    cli::LintArgs,
    exit::Exit,
    failure::Failure,
    lint::{Checked, render, sources},
    output,
    text::count,
};

/// Checks the files, and prints every mistake on standard output.
pub fn execute(args: &LintArgs) -> Result<Exit, Failure> {
    let color = std::io::stdout().is_terminal();
    let (mut objects, mut mistakes) = (0, 0);
    for source in sources(&args.filename)? {
        let checked = Checked::of(&source.text);
        for skipped in &checked.skipped {
            output::note(&format!("{}:{}: skipped: {}", source.name, skipped.line, skipped.what));
        }
        for mistake in &checked.mistakes {
            output::line(&render(mistake, &source.text, &source.name, color))?;
        }
        objects += checked.documents.len();
        mistakes += checked.mistakes.len();
    }
    let objects = count(objects as u64, "object");
    if mistakes == 0 {
        output::line(&format!("no mistakes in {objects}"))?;
        return Ok(Exit::Done);
    }
    output::note(&format!("{} in {objects}", count(mistakes as u64, "mistake")));
    Ok(Exit::Failed)
}
