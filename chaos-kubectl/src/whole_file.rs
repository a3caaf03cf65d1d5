//! Writes a file whole or not at all: another one beside it is written, which then takes its place. Pipes and devices are
//! written to.

use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// What a new file may be used for, before the umask.
const MODE: u32 = 0o666;

/// Writes these contents. What was there before stays until all of them are written; a link stays, too.
pub fn write(path: &Path, contents: &str) -> io::Result<()> {
    let target = match fs::metadata(path) {
        Ok(there) if !there.is_file() && !there.is_dir() => return fs::write(path, contents),
        Ok(_) => fs::canonicalize(path)?,
        Err(_) => path.to_owned(),
    };
    let path = &target;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut beside = tempfile::Builder::new()
        .prefix(".chaos-")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(parent.unwrap_or(Path::new(".")))?;
    beside.write_all(contents.as_bytes())?;
    beside.as_file().sync_all()?;
    beside.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, thread};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let names = || -> Vec<_> {
            fs::read_dir(directory.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect()
        };
        let file = directory.path().join("chaos.xml");
        for contents in ["a longer one before", "after"] {
            write(&file, contents).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), contents);
            assert_eq!(names(), ["chaos.xml"]);
        }
        // A directory is not replaced, and one that is not there is not made.
        let taken = directory.path().join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("inside"), "").unwrap();
        write(&taken, "report").unwrap_err();
        let missing = write(&directory.path().join("none/chaos.xml"), "report").unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(taken.join("inside").exists());
        assert_eq!(names().len(), 2);
    }

    #[test]
    fn links_stay_and_pipes_are_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("today.xml"), directory.path().join("last.xml"));
        fs::write(&file, "before").unwrap();
        symlink("today.xml", &link).unwrap();
        write(&link, "after").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "after");

        let pipe = directory.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let reader = thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        write(&pipe, "report").unwrap();
        assert_eq!(reader.join().unwrap(), "report");
    }
}
