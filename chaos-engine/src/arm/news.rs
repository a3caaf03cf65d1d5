//! Tells which targets have got interfaces that are not served yet.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use crate::kernel::{KernelError, LinkEvents};

/// Those that are told of in one look.
const READY: usize = 64;

/// What is heard of the network namespaces of all targets. Each event is told once.
#[derive(Clone)]
pub(super) struct News(Arc<Option<Epoll>>);

impl News {
    /// Of nothing yet. Without the descriptor that it takes, everything is noticed at the next tick only.
    pub(super) fn new() -> Self {
        Self(Arc::new(
            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
                .inspect_err(|error| {
                    tracing::warn!(%error, "new interfaces are noticed late: epoll_create1");
                })
                .ok(),
        ))
    }

    /// Hears of the interfaces of the calling thread's network namespace from now on, for the target with this cgroup.
    pub(super) fn watch(&self, cgroup: u64) -> Result<LinkEvents, KernelError> {
        let events = LinkEvents::open()?;
        if let Some(all) = &*self.0 {
            let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, cgroup);
            all.add(&events, event)
                .map_err(|errno| KernelError::Call { call: "epoll_ctl", source: errno.into() })?;
        }
        Ok(events)
    }

    /// Becomes readable when there is something to take.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Option::as_ref(&self.0).map(|all| all.0.as_fd())
    }

    /// The ids of the cgroups of targets that it has heard of since the last call.
    pub(super) fn take(&self) -> BTreeSet<u64> {
        let mut heard = BTreeSet::new();
        let Some(all) = &*self.0 else { return heard };
        let mut ready = [EpollEvent::empty(); READY];
        loop {
            match all.wait(&mut ready, EpollTimeout::ZERO) {
                Ok(count) => {
                    heard.extend(ready[..count].iter().map(EpollEvent::data));
                    if count < READY {
                        return heard;
                    }
                }
                Err(Errno::EINTR) => {}
                // The next tick looks at all targets.
                Err(_) => return heard,
            }
        }
    }
}
