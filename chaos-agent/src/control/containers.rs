//! The socket that container runtimes bring the listeners of seccomp filters to.

use std::{io, os::unix::net::UnixStream, sync::Arc, time::Duration};

use chaos_arm::KeeperGone;
use chaos_engine::{
    arm::{ArmError, FilteredContainer},
    cgroup::{CgroupRoot, TargetError},
    seccomp::{
        SpawnError, Supervisor,
        container::{ContainerError, ContainerProcess, receive},
    },
};
use thiserror::Error;
use tokio::{sync::watch, task::spawn_blocking};

use super::{ControlSocket, peer::Peer};
use crate::Handle;

/// How long a runtime may take to say what it came for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a container can't be broken. A supervisor lets its calls go on, unless none could be had: its
/// listed calls fail with ENOSYS then.
#[derive(Debug, Error)]
enum Refused {
    #[error("read from the runtime: {0}")]
    Stream(#[from] io::Error),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error(transparent)]
    Arm(#[from] ArmError),
    #[error(transparent)]
    Keeper(#[from] KeeperGone),
    #[error("{0} may not hand containers over")]
    Peer(String),
    #[error("the task that received a container panicked")]
    Panicked,
}

/// Serves runtimes until told to stop.
pub async fn serve_runtimes(
    socket: ControlSocket,
    handle: Handle,
    root: CgroupRoot,
    mut stop: watch::Receiver<bool>,
) {
    let root = Arc::new(root);
    loop {
        let stream = tokio::select! {
            stream = socket.accept() => stream,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (handle, root) = (handle.clone(), root.clone());
        tokio::spawn(async move {
            match take(stream, &handle, root).await {
                Ok(id) => tracing::info!(%id, "a container starts under our seccomp profile"),
                Err(error) => tracing::warn!(%error, "a container was handed over in vain"),
            }
        });
    }
}

async fn take(
    stream: tokio::net::UnixStream,
    handle: &Handle,
    root: Arc<CgroupRoot>,
) -> Result<String, Refused> {
    let peer = Peer::of(&stream)?;
    if !peer.may_control() {
        return Err(Refused::Peer(peer.to_string()));
    }
    let stream = stream.into_std()?;
    let container = spawn_blocking(move || take_over(&stream, &root));
    let container = container.await.map_err(|_| Refused::Panicked)??;
    let id = container.id.clone();
    handle.with(|armory| armory.add_container(container)).await??;
    Ok(id)
}

/// Spawns a supervisor for the container.
fn take_over(stream: &UnixStream, root: &CgroupRoot) -> Result<FilteredContainer, Refused> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let ContainerProcess { id, pid, calls, listener } = receive(stream)?;
    let supervisor = Supervisor::of_container(listener)?;
    if let Err(error) = supervisor.move_to(root.top()) {
        tracing::warn!(%id, %error, "the supervisor stays in the agent's cgroup and ends with it");
    }
    let cgroup = root.of_process(pid)?;
    Ok(FilteredContainer { id, cgroup, calls, supervisor })
}
