//! Programs at interfaces that the targets in a network namespace share.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use chaos_plan::{Hook, Position};

use crate::{
    cgroup::NetNsKey,
    kernel::{FrameGroup, FrameHooks, KernelError, Link, Naming},
};

/// The groups of all targets of a process: one for each network namespace, and for each position among the programs of
/// others.
#[derive(Clone, Default)]
pub(super) struct Groups(Arc<Mutex<BTreeMap<Place, Weak<Group>>>>);

/// The namespace, and whether the programs are behind all others.
type Place = (NetNsKey, bool);

/// What the targets of one namespace share. It is there for as long as one of them is in it, or a program is attached.
pub(super) struct Group {
    programs: FrameGroup,
    /// By hook and index of the interface.
    links: Mutex<BTreeMap<(Hook, u32), Weak<Attached>>>,
}

struct Attached {
    link: Mutex<Link>,
    /// After the link.
    _group: Arc<Group>,
}

/// A program at an interface, for all targets of a group that have this of it. It is detached with the last one.
pub(in crate::arm) struct SharedLink(Arc<Attached>);

impl Groups {
    /// The group of a namespace and a position, for this target and those that are in it already.
    pub(super) fn of(
        &self,
        namespace: NetNsKey,
        position: Position,
        target: &FrameHooks,
    ) -> Result<Arc<Group>, KernelError> {
        // Whoever panicked has left the list whole.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (namespace, position == Position::Last);
        if let Some(group) = all.get(&place).and_then(Weak::upgrade) {
            return Ok(group);
        }
        all.retain(|_, group| group.strong_count() > 0);
        let group = Group { programs: target.new_group()?, links: Mutex::default() };
        let group = Arc::new(group);
        all.insert(place, Arc::downgrade(&group));
        Ok(group)
    }
}

impl Group {
    /// Its programs.
    pub(super) fn programs(&self) -> &FrameGroup {
        &self.programs
    }

    /// Attaches a hook to an interface of the calling thread's network namespace, which is the group's, unless another
    /// target has done so.
    pub(super) fn attach(
        self: &Arc<Self>,
        at: (Hook, Position),
        interface: (u32, &str),
        naming: &Naming<'_>,
    ) -> Result<SharedLink, KernelError> {
        let mut links = self.links();
        let place = (at.0, interface.0);
        let known = links.get(&place).and_then(Weak::upgrade).map(SharedLink);
        if let Some(link) = known
            && link.is_attached().unwrap_or(true)
        {
            return Ok(link);
        }
        links.retain(|_, link| link.strong_count() > 0);
        let link = self.programs.attach_interface(at, interface, naming)?;
        let attached = Arc::new(Attached { link: Mutex::new(link), _group: self.clone() });
        links.insert(place, Arc::downgrade(&attached));
        Ok(SharedLink(attached))
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<(Hook, u32), Weak<Attached>>> {
        // As above.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedLink {
    /// Whether the program is still at its interface.
    pub(super) fn is_attached(&self) -> io::Result<bool> {
        self.0.link.lock().unwrap_or_else(PoisonError::into_inner).is_attached()
    }
}
