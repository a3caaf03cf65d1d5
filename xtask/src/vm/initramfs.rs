//! An initramfs: a cpio archive in the format that the kernel calls newc ([initramfs buffer
//! format]).
//!
//! [initramfs buffer format]: https://docs.kernel.org/driver-api/early-userspace/buffer-format.html

/// `c_mode` of a directory and of a regular file.
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;

/// An archive in memory. A file's directory has to be added before it.
#[derive(Default)]
pub struct Initramfs {
    data: Vec<u8>,
    entries: u32,
}

impl Initramfs {
    pub fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY, &[]);
    }

    pub fn file(&mut self, path: &str, contents: &[u8]) {
        self.entry(path, FILE, contents);
    }

    pub fn program(&mut self, path: &str, contents: &[u8]) {
        self.entry(path, PROGRAM, contents);
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.data
    }

    /// # Panics
    /// When the contents are larger than the format allows, 4 GiB.
    fn entry(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(contents.len()).expect("a file of the initramfs is below 4 GiB");
        let name_size = u32::try_from(path.len() + 1).expect("a path is below 4 GiB");
        let links = if mode == DIRECTORY { 2 } else { 1 };
        self.data.extend(b"070701");
        let [uid, gid, mtime, major, minor, device_major, device_minor, checksum] = [0; 8];
        for field in [
            self.entries,
            mode,
            uid,
            gid,
            links,
            mtime,
            size,
            major,
            minor,
            device_major,
            device_minor,
            name_size,
            checksum,
        ] {
            self.data.extend(format!("{field:08x}").bytes());
        }
        self.data.extend(path.bytes());
        self.data.push(0);
        self.pad();
        self.data.extend(contents);
        self.pad();
    }

    /// Headers and contents begin at multiples of four.
    fn pad(&mut self) {
        self.data.resize(self.data.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use cpio::newc;

    use super::*;

    /// Path, mode and contents of every entry, as an independent reader sees them.
    fn list(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        let mut rest = archive;
        loop {
            let mut reader = newc::Reader::new(rest).unwrap();
            let entry = reader.entry().clone();
            if entry.is_trailer() {
                return entries;
            }
            let mut contents = Vec::new();
            reader.read_to_end(&mut contents).unwrap();
            entries.push((entry.name().to_owned(), entry.mode(), contents));
            rest = reader.finish().unwrap();
        }
    }

    #[test]
    fn an_archive_is_read_back() {
        // Every remainder of the paths' and the contents' lengths by four.
        let files: Vec<(String, Vec<u8>)> = (0..16usize)
            .map(|number| {
                let path = format!("dir/{}", "n".repeat(1 + number % 4));
                (format!("{path}-{number}"), vec![u8::try_from(number).unwrap(); number / 4])
            })
            .collect();
        let mut archive = Initramfs::default();
        archive.directory("dir");
        for (path, contents) in &files {
            archive.file(path, contents);
        }
        archive.program("init", b"\x7fELF");
        let mut expected = vec![("dir".to_owned(), 0o040_755, Vec::new())];
        expected.extend(files.into_iter().map(|(path, contents)| (path, 0o100_644, contents)));
        expected.push(("init".to_owned(), 0o100_755, b"\x7fELF".to_vec()));
        assert_eq!(list(&archive.finish()), expected);
    }

    #[test]
    fn an_empty_archive_is_its_trailer() {
        let archive = Initramfs::default().finish();
        assert_eq!(list(&archive), []);
        assert_eq!(archive.len() % 4, 0);
    }
}
