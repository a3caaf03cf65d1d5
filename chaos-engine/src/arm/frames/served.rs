//! Serves the interfaces of one network namespace.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
    time::{Duration, Instant},
};

use chaos_plan::{Hook, Position};

use super::{
    bounds::choose,
    groups::{Group, Groups, SharedLink},
};
use crate::{
    arm::{
        ArmError,
        interfaces::{Interface, ethernet_interfaces},
        turn::Turn,
    },
    cgroup::{FoundNetNs, NetNsKey},
    kernel::{FrameHooks, LinkEvents, Membership, Naming},
};

/// How often a namespace is visited in which nothing has happened, should an event have been missed.
const VISIT_EVERY: Duration = Duration::from_secs(60);

/// What a target has in one network namespace.
pub(super) struct Served {
    /// The group by whose programs it is served.
    joined: Option<Joined>,
    /// By hook and index of the interface.
    pub links: BTreeMap<(Hook, u32), SharedLink>,
    pub inode: u64,
    /// The target has made it for itself.
    pub is_inner: bool,
    /// When a process of the target was there last.
    pub seen: Instant,
    /// Interfaces for which there is no room.
    pub left_out: usize,
    /// Interfaces whose turn has not come yet.
    pub pending: usize,
    /// Tells of interfaces since the last visit, while a process of the target is there: it keeps the namespace.
    pub events: Option<LinkEvents>,
    /// When it was served last, whole.
    visited: Option<Instant>,
}

struct Joined {
    group: Arc<Group>,
    position: Position,
    _membership: Membership,
}

impl Served {
    pub(super) fn new(found: &FoundNetNs) -> Self {
        Self {
            joined: None,
            links: BTreeMap::new(),
            inode: found.namespace.inode(),
            is_inner: found.is_inner,
            seen: Instant::now(),
            left_out: 0,
            pending: 0,
            events: None,
            visited: None,
        }
    }

    /// Whether there is nothing to be done in it: no interface has come or changed, and nobody has detached anything.
    pub(super) fn is_quiet(&mut self) -> bool {
        let is_fresh = |visited: Instant| visited.elapsed() < VISIT_EVERY;
        let has_events = self.events.as_ref().is_none_or(LinkEvents::take);
        !has_events
            && self.joined.is_some()
            && self.pending == 0
            && self.visited.is_some_and(is_fresh)
            && self.links.values().all(is_attached)
    }

    /// Notes the interfaces that lack one of these hooks, or have them where they are not wanted any more.
    pub(super) fn expect(&mut self, hooks: &[Hook], is_moved: bool) {
        // Where nothing is attached any more, nothing lacks either.
        self.visited = None;
        let lacks = |index: &u32| {
            hooks.iter().any(|hook| is_moved || !self.links.contains_key(&(*hook, *index)))
        };
        self.pending = self.interfaces().iter().filter(|index| lacks(index)).count();
    }

    /// The interfaces with something attached.
    pub(super) fn interfaces(&self) -> BTreeSet<u32> {
        self.links.keys().map(|(_, index)| *index).collect()
    }

    /// Joins the group of the namespace with this key at a position, unless it is in it. It leaves that of another position
    /// before, as it is to be asked once.
    pub(super) fn join(
        &mut self,
        (namespace, position): (NetNsKey, Position),
        groups: &Groups,
        target: &FrameHooks,
    ) -> Result<(), ArmError> {
        if self.joined.as_ref().is_some_and(|joined| joined.position == position) {
            return Ok(());
        }
        self.leave();
        let group = groups.of(namespace, position, target)?;
        let membership = target.join(group.programs())?;
        self.joined = Some(Joined { group, position, _membership: membership });
        Ok(())
    }

    /// Leaves the group; what others need stays attached.
    pub(super) fn leave(&mut self) {
        self.joined = None;
    }

    /// Attaches the hooks to as many interfaces of the calling thread's network namespace, which is this
    /// one, as there is room for, and forgets those that are gone. So many programs are attached at once,
    /// whatever the turn; whether that was all. What the group has attached already is not attached again.
    pub(super) fn serve(
        &mut self,
        hooks: &[Hook],
        naming: &Naming<'_>,
        room: usize,
        (at_once, turn): (usize, Turn),
    ) -> Result<bool, ArmError> {
        self.visited = None;
        let Some(Joined { group, position, .. }) = &self.joined else { return Ok(true) };
        let (group, position) = (group.clone(), *position);
        let interfaces = ethernet_interfaces()?;
        let indices: Vec<u32> = interfaces.iter().map(|interface| interface.index).collect();
        self.links.retain(|(_, index), link| indices.contains(index) && is_attached(link));
        let served = self.interfaces();
        let chosen = choose(&indices, |index| served.contains(&index), room);
        self.left_out = indices.len() - chosen.len();
        for (done, index) in chosen.iter().enumerate() {
            self.pending = chosen.len() - done;
            let name = interfaces.iter().find(|interface| interface.index == *index);
            let Some(Interface { name, .. }) = name else { continue };
            for hook in hooks.iter().copied() {
                if let Entry::Vacant(vacant) = self.links.entry((hook, *index)) {
                    let at = (hook, position);
                    vacant.insert(group.attach(at, (*index, name), naming)?);
                    if turn.is_over() && self.links.len() >= at_once {
                        return Ok(false);
                    }
                }
            }
        }
        self.pending = 0;
        self.visited = Some(Instant::now());
        Ok(true)
    }
}

fn is_attached(link: &SharedLink) -> bool {
    // What cannot be looked at is left as it is.
    link.is_attached().unwrap_or(true)
}
