//! Finds the files that are to be checked, and reads them.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// No longer text is read, in bytes.
const LONGEST: u64 = 4 << 20;

const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// A text and what the user knows it by.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    pub text: String,
}

/// Reads files, those of directories in the order of their names, and standard input for `-`.
pub fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            let failed = |source| Failure::Io { what: "read standard input".to_owned(), source };
            io::stdin().lock().take(LONGEST + 1).read_to_string(&mut text).map_err(failed)?;
            if text.len() as u64 > LONGEST {
                return Err(failed(too_long()));
            }
            found.push(Source { name: "standard input".to_owned(), text });
        } else {
            add(path, &mut found, true)?;
        }
    }
    Ok(found)
}

fn too_long() -> io::Error {
    let message = format!("it is longer than {} MiB", LONGEST >> 20);
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

fn add(path: &Path, found: &mut Vec<Source>, is_named: bool) -> Result<(), Failure> {
    let failed = |source| Failure::Io { what: format!("read {}", path.display()), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        // A link to a directory may lead back to where it is.
        if !is_named && path.is_symlink() {
            return Ok(());
        }
        let entries: Result<Vec<_>, _> = fs::read_dir(path).map_err(failed)?.collect();
        let mut paths: Vec<PathBuf> =
            entries.map_err(failed)?.into_iter().map(|entry| entry.path()).collect();
        paths.sort();
        return paths.iter().try_for_each(|path| add(path, found, false));
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if !is_named && !(ENDINGS.contains(&ending) && metadata.is_file()) {
        return Ok(());
    }
    if metadata.len() > LONGEST {
        return Err(failed(too_long()));
    }
    // What is no file has no length, and may never end.
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LONGEST {
        return Err(failed(too_long()));
    }
    found.push(Source { name: path.display().to_string(), text });
    Ok(())
}
