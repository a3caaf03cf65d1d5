//! `--fault` and `--faults`: the faults of a command line.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use chaos_fault::Fault;

use super::failure::Failure;

/// A text of faults is longer than this only by mistake.
const LONGEST: u64 = 1 << 20;

/// What is to go wrong
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct FaultArgs {
    /// A fault, as a sentence (`chaos-agent language` tells what it can say); may be given again, and several sentences go with `;` between
    #[arg(long, value_name = "TEXT")]
    fault: Vec<String>,
    /// A file of faults, sentences or YAML; `-` is standard input; may be given again
    #[arg(long, value_name = "FILE")]
    faults: Vec<PathBuf>,
}

impl FaultArgs {
    /// Every fault, those of `--fault` first, or all errors with their carets.
    pub fn read(&self) -> Result<Vec<Fault>, Failure> {
        let mut sources = Vec::new();
        for (index, text) in self.fault.iter().enumerate() {
            let name = match self.fault.len() {
                1 => "--fault".to_owned(),
                _ => format!("--fault #{}", index + 1),
            };
            sources.push((name, text.clone()));
        }
        for path in &self.faults {
            sources.push((path.display().to_string(), read_file(path)?));
        }
        let mut faults = Vec::new();
        let mut reports = Vec::new();
        for (name, text) in &sources {
            match chaos_fault::read(text) {
                Ok(sentences) if sentences.is_empty() => {
                    return Err(Failure::Usage(format!("{name} holds no fault")));
                }
                Ok(sentences) => {
                    for sentence in sentences {
                        let mut fault = sentence.fault;
                        reports.extend(read_latencies(&mut fault)?);
                        faults.push(fault);
                    }
                }
                Err(errors) => reports.push(errors.render(text, name, true)),
            }
        }
        if reports.is_empty() { Ok(faults) } else { Err(Failure::Rendered(reports.join("\n\n"))) }
    }
}

/// Reads the file of latencies that the fault names, if it does: what it says is needed where the
/// fault is planned and armed. What is wrong in it comes back with carets.
fn read_latencies(fault: &mut Fault) -> Result<Option<String>, Failure> {
    let Some((path, latencies)) = fault.verb.unread_file() else { return Ok(None) };
    let text = read_file(Path::new(path))?;
    match chaos_fault::read_latencies(&text) {
        Ok(read) => *latencies = read,
        Err(errors) => return Ok(Some(errors.render(&text, path, true))),
    }
    Ok(None)
}

fn read_file(path: &Path) -> Result<String, Failure> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        let source: Box<dyn Read> = if path == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(path)?)
        };
        source.take(LONGEST + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read()
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
    if text.len() as u64 > LONGEST {
        return Err(Failure::Usage(format!("{} is longer than 1 MiB", path.display())));
    }
    Ok(text)
}
