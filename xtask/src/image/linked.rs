//! Takes a program of this machine into an image, with the shared libraries that it is linked with.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::archive::Program;
use crate::command::capture;

/// A program and its libraries, each with the path in the image.
pub struct LinkedProgram {
    files: Vec<(String, Vec<u8>)>,
}

impl LinkedProgram {
    /// Finds the program in `PATH`. In the image it lies in the root directory, and its libraries where they lie here.
    pub fn find(name: &str) -> Result<Self> {
        let program = which::which(name).with_context(|| format!("no `{name}` on PATH"))?;
        let linked = capture(Command::new("ldd").arg(&program))?;
        let mut files = vec![(name.to_owned(), read(&program)?)];
        for library in libraries(&linked).with_context(|| format!("libraries of {name}"))? {
            let path = library.trim_start_matches('/').to_owned();
            files.push((path, read(Path::new(library))?));
        }
        Ok(Self { files })
    }

    /// What an image has of it.
    pub fn programs(&self) -> Vec<Program<'_>> {
        self.files.iter().map(|(path, contents)| Program { path, contents }).collect()
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// The paths that ldd(1) prints: of the libraries, and of what loads them.
fn libraries(ldd: &str) -> Result<Vec<&str>> {
    let mut paths = Vec::new();
    for line in ldd.lines().map(str::trim) {
        let found = line.split_once(" => ").map_or(line, |(_, found)| found);
        match found.split_once(' ') {
            Some((path, _)) if path.starts_with('/') => paths.push(path),
            // The kernel's own has no file.
            Some((name, _)) if name.starts_with("linux-vdso") => {}
            Some(_) | None => bail!("ldd says {line:?}"),
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_what_loads_them_have_files() {
        let ldd = "\
\tlinux-vdso.so.1 (0x00007ffc8a5f2000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f2c5a600000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f2c5a8f0000)
";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries(ldd).unwrap(), expected);
    }

    #[test]
    fn a_library_that_is_missing_and_a_static_program_are_errors() {
        for ldd in ["\tlibmissing.so.1 => not found\n", "\tstatically linked\n"] {
            let error = libraries(ldd).unwrap_err().to_string();
            assert!(error.contains(ldd.trim()), "{error}");
        }
    }
}
