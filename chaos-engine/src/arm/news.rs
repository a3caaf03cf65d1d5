//! Tells which targets have got interfaces that are not served yet.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, OnceLock},
};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use crate::kernel::{KernelError, LinkEvents, Programs};

/// Those that are told of in one look.
const READY: usize = 64;

/// By which programs are known that tell of namespaces; no cgroup has this id.
const PROGRAMS: u64 = 0;

/// What is heard of the network namespaces of all targets. Each event is told once.
#[derive(Clone)]
pub(super) struct News {
    all: Arc<Option<Epoll>>,
    /// Which tell of namespaces.
    programs: Arc<OnceLock<Programs>>,
}

impl News {
    /// Of nothing yet. Without the descriptor that it takes, everything is noticed at the next tick only.
    pub(super) fn new() -> Self {
        let all = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).inspect_err(|error| {
            tracing::warn!(%error, "new interfaces are noticed late: epoll_create1");
        });
        Self { all: Arc::new(all.ok()), programs: Arc::default() }
    }

    /// Hears from these programs of namespaces that a target has not used before. All targets have the same.
    pub(super) fn hear(&self, programs: &Programs) {
        let Some(all) = &*self.all else { return };
        self.programs.get_or_init(|| {
            let heard = programs.namespace_news().and_then(|news| {
                let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, PROGRAMS);
                Ok(all.add(news, event)?)
            });
            if let Err(error) = heard {
                tracing::warn!(%error, "new network namespaces are noticed late");
            }
            programs.clone()
        });
    }

    /// Hears of the interfaces of the calling thread's network namespace from now on, for the target with this cgroup.
    pub(super) fn watch(&self, cgroup: u64) -> Result<LinkEvents, KernelError> {
        let events = LinkEvents::open()?;
        if let Some(all) = &*self.all {
            let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, cgroup);
            all.add(&events, event)
                .map_err(|errno| KernelError::Call { call: "epoll_ctl", source: errno.into() })?;
        }
        Ok(events)
    }

    /// Becomes readable when there is something to take.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Option::as_ref(&self.all).map(|all| all.0.as_fd())
    }

    /// The ids of the cgroups of targets that it has heard of since the last call.
    pub(super) fn take(&self) -> BTreeSet<u64> {
        let mut heard = BTreeSet::new();
        let Some(all) = &*self.all else { return heard };
        let mut ready = [EpollEvent::empty(); READY];
        loop {
            match all.wait(&mut ready, EpollTimeout::ZERO) {
                Ok(count) => {
                    heard.extend(ready[..count].iter().map(EpollEvent::data));
                    if count < READY {
                        break;
                    }
                }
                Err(Errno::EINTR) => {}
                // The next tick looks at all targets.
                Err(_) => break,
            }
        }
        if heard.remove(&PROGRAMS)
            && let Some(programs) = self.programs.get()
        {
            heard.extend(programs.take_namespace_news());
        }
        heard
    }
}
