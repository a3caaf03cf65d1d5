//! `lint`: checks files, without a cluster.

use std::io::IsTerminal as _;

use chaos_controller::counted;

use crate::{
    cli::LintArgs,
    exit::Exit,
    failure::Failure,
    lint::{Checked, render, sources},
    output,
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
    if objects + mistakes == 0 {
        let places: Vec<String> =
            args.filename.iter().map(|path| path.display().to_string()).collect();
        output::error_line(&format!(
            "error: there is no Experiment and no Run in {}; `-f` takes files, and directories with *.yaml, *.yml or *.json",
            places.join(", ")
        ));
        return Ok(Exit::Failed);
    }
    let objects = counted(objects as u64, "object");
    if mistakes == 0 {
        output::line(&format!("no mistakes in {objects}"))?;
        return Ok(Exit::Done);
    }
    output::note(&format!("{} in {objects}", counted(mistakes as u64, "mistake")));
    Ok(Exit::Failed)
}
