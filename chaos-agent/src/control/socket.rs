//! The socket file: who may have it, and what becomes of one that was left behind.

use std::{
    fs::{self, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::errno::Errno;
use thiserror::Error;
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::start_lock::{LockError, StartLock};

/// For its owner only.
const SOCKET_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 64;

/// Between attempts to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why an agent does not get its socket.
#[derive(Debug, Error)]
pub enum SocketError {
    #[error(
        "another agent{} listens at {path}; stop it, or give this one another --socket",
        .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Taken { path: PathBuf, pid: Option<i32> },
    #[error("{path} exists and is no socket; remove it, or give another --socket")]
    NoSocket { path: PathBuf },
    #[error("{path} has no directory to put a socket into; give --socket a path to a file")]
    NoDirectory { path: PathBuf },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("cannot {doing} {path}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

/// The socket that an agent listens at. Dropping it removes the file, unless somebody has put
/// another one in its place.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    identity: (u64, u64),
}

impl ControlSocket {
    /// Listens at `path`, making its directory where that is missing, and replacing the socket of
    /// an agent that was killed. Needs a tokio runtime.
    pub async fn bind(path: &Path) -> Result<Self, SocketError> {
        make_directory_of(path)?;
        // Two agents that start at once would both find the old socket dead, and the second would
        // take away the first one's new one.
        let _lock = StartLock::take(path).await?;
        remove_stale(path).await?;
        let failed = |doing| move |source| SocketError::Io { doing, path: path.to_owned(), source };
        let socket = UnixSocket::new_stream().map_err(failed("make the socket"))?;
        socket.bind(path).map_err(failed("bind"))?;
        // Nobody can connect before listen(2), so nobody can before this.
        fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(failed("chmod"))?;
        let identity = identity(path).map_err(failed("stat"))?;
        let listener = socket.listen(BACKLOG).map_err(failed("listen at"))?;
        Ok(Self { listener, path: path.to_owned(), identity })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next client.
    pub(super) async fn accept(&self) -> UnixStream {
        let (stream, _) =
            patiently(|| self.listener.accept(), || tokio::time::sleep(ACCEPT_PAUSE)).await;
        stream
    }
}

/// Accepts a connection. One that cannot be accepted for want of descriptors stays in the backlog, so
/// that the next attempt would fail at once, too: between two there is a pause.
async fn patiently<T, A, P>(mut accept: impl FnMut() -> A, mut pause: impl FnMut() -> P) -> T
where
    A: Future<Output = io::Result<T>>,
    P: Future<Output = ()>,
{
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                pause().await;
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the socket stays behind");
        }
    }
}

/// Device and inode.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Makes the directory of the socket, if it is only the last part of the path that is missing.
fn make_directory_of(path: &Path) -> Result<(), SocketError> {
    let no_directory = || SocketError::NoDirectory { path: path.to_owned() };
    let parent = path.parent().filter(|_| path.file_name().is_some()).ok_or_else(no_directory)?;
    let directory = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    match fs::DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(SocketError::Io { doing: "make", path: directory.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// A socket that nobody listens at refuses connections; whatever else happens, it is alive.
async fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |doing| move |source| SocketError::Io { doing, path: path.to_owned(), source };
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("stat"))?,
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NoSocket { path: path.to_owned() });
    }
    let taken = |pid| SocketError::Taken { path: path.to_owned(), pid };
    match UnixStream::connect(path).await {
        Ok(stream) => Err(taken(stream.peer_cred().ok().and_then(|peer| peer.pid()))),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("remove"))
        }
        // Its backlog is full: it is alive and does not accept.
        Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => Err(taken(None)),
        Err(error) => Err(failed("connect to")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_private_and_goes_with_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/agent.sock");
        let socket = ControlSocket::bind(&path).await.unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_living_agent_is_not_disturbed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let first = ControlSocket::bind(&path).await.unwrap();
        let error = ControlSocket::bind(&path).await.unwrap_err();
        let expected = format!("another agent (process {})", std::process::id());
        assert!(error.to_string().starts_with(&expected), "{error}");
        first.accept().await;
        assert!(path.exists());
    }

    #[tokio::test]
    async fn after_each_failure_to_accept_there_is_a_pause() {
        let (mut failures, mut pauses) = (3, 0);
        let accept = || {
            failures -= 1;
            let failed = || io::Error::from(Errno::EMFILE);
            std::future::ready(if failures < 0 { Ok("a client") } else { Err(failed()) })
        };
        let pause = || {
            pauses += 1;
            std::future::ready(())
        };
        assert_eq!(patiently(accept, pause).await, "a client");
        assert_eq!((pauses, failures), (3, -1));
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_other_files_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        // Closed without unlink(2), as by a process that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(ControlSocket::bind(&path).await.unwrap());
        assert!(!path.exists());

        fs::write(&path, "precious").unwrap();
        let error = ControlSocket::bind(&path).await.unwrap_err();
        assert!(matches!(error, SocketError::NoSocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_socket_that_was_replaced_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let socket = ControlSocket::bind(&path).await.unwrap();
        // The other one exists already, so that it cannot get the same inode.
        let other = directory.path().join("other.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&other).unwrap();
        fs::rename(&other, &path).unwrap();
        drop(socket);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn impossible_paths_say_why() {
        for (path, expected) in [
            ("/", "no directory"),
            ("/nowhere/at/all/agent.sock", "cannot make /nowhere/at/all"),
            ("/proc/version/agent.sock", "cannot"),
        ] {
            let error = ControlSocket::bind(Path::new(path)).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{path}: {error}");
        }
    }
}
