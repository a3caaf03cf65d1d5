//! Keeps two agents that start at once from taking each other's socket away.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use thiserror::Error;

/// For its owner only: whoever can open a file can lock it.
const MODE: u32 = 0o600;
const OTHERS: u32 = 0o077;

/// How long another agent that is just starting may hold the lock.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

/// Why the lock is not to be had.
#[derive(Debug, Error)]
pub enum LockError {
    #[error("another agent that is starting keeps {path} locked; give another --socket")]
    Held { path: PathBuf },
    #[error(
        "{path} belongs to somebody else and comes back when it is removed; give another --socket"
    )]
    Foreign { path: PathBuf },
    #[error("cannot {doing} {path}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

/// An flock(2) on a file beside the socket. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct StartLock {
    path: PathBuf,
    file: File,
}

impl StartLock {
    /// Takes the lock of the agent whose socket this is.
    pub async fn take(socket: &Path) -> Result<Self, LockError> {
        let mut name = OsString::from(socket);
        name.push(".lock");
        let path = PathBuf::from(name);
        let give_up = Instant::now() + PATIENCE;
        loop {
            match Self::attempt(&path)? {
                Ok(lock) => return Ok(lock),
                Err(error) if Instant::now() > give_up => return Err(error),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// The inner error is one that time may mend.
    fn attempt(path: &Path) -> Result<Result<Self, LockError>, LockError> {
        let failed = |doing| move |source| LockError::Io { doing, path: path.to_owned(), source };
        let Some(file) = open(path).map_err(failed("open"))? else {
            return Ok(Err(LockError::Foreign { path: path.to_owned() }));
        };
        match file.try_lock() {
            // The one before removes the file when it has done: then this is the lock of nobody.
            Ok(()) if is_at(&file, path) => Ok(Ok(Self { path: path.to_owned(), file })),
            Ok(()) | Err(TryLockError::WouldBlock) => {
                Ok(Err(LockError::Held { path: path.to_owned() }))
            }
            Err(TryLockError::Error(error)) => Err(failed("lock")(error)),
        }
    }
}

impl Drop for StartLock {
    fn drop(&mut self) {
        // Locked until it is gone, so that nobody else's is removed.
        if is_at(&self.file, &self.path)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the lock file stays behind");
        }
    }
}

/// Opens the file, or makes it. `None` for one that others may open, which is removed: they could hold
/// its lock for ever.
fn open(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.write(true).mode(MODE).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => return made.map(Some),
    }
    let found = match fs::symlink_metadata(path) {
        // Removed by the one that had it.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    let is_ours = found.is_file()
        && found.uid() == geteuid().as_raw()
        && found.mode() & OTHERS == 0
        && found.nlink() == 1;
    if is_ours {
        return match options.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            // Between the look and this it may have become another's, which the next look tells.
            opened => opened.map(Some),
        };
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(None),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let here = file.metadata().map(identity);
    let there = fs::symlink_metadata(path).map(identity);
    here.is_ok_and(|here| there.is_ok_and(|there| here == there))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let first = StartLock::take(&socket).await.unwrap();
        let mode = first.file.metadata().unwrap().mode();
        assert_eq!(mode & 0o777, MODE);
        let path = first.path.clone();
        assert!(matches!(StartLock::attempt(&path), Ok(Err(LockError::Held { .. }))));
        let waiting = tokio::spawn(async move { StartLock::take(&socket).await });
        tokio::time::sleep(PAUSE).await;
        drop(first);
        drop(waiting.await.unwrap().unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn the_directory_and_files_of_others_hold_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let whoever_opens_the_directory = File::open(directory.path()).unwrap();
        whoever_opens_the_directory.try_lock().unwrap();
        drop(StartLock::take(&socket).await.unwrap());

        let open_to_all = directory.path().join("agent.sock.lock");
        let file = File::create(&open_to_all).unwrap();
        fs::set_permissions(&open_to_all, fs::Permissions::from_mode(0o666)).unwrap();
        file.try_lock().unwrap();
        drop(StartLock::take(&socket).await.unwrap());

        let precious = directory.path().join("precious");
        fs::write(&precious, "text").unwrap();
        std::os::unix::fs::symlink(&precious, &open_to_all).unwrap();
        drop(StartLock::take(&socket).await.unwrap());
        assert_eq!(fs::read_to_string(precious).unwrap(), "text");
    }

    #[tokio::test]
    async fn many_at_once_take_turns() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let held = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (socket, held) = (socket.clone(), held.clone());
                tokio::spawn(async move {
                    let lock = StartLock::take(&socket).await.unwrap();
                    let order = std::sync::atomic::Ordering::SeqCst;
                    assert!(!held.swap(true, order), "two have it");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    held.store(false, order);
                    drop(lock);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}
