//! Serves the interfaces of one network namespace.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::{Duration, Instant},
};

use chaos_plan::{Hook, Position};

use super::bounds::choose;
use crate::{
    arm::{
        ArmError,
        interfaces::{Interface, ethernet_interfaces},
        turn::Turn,
    },
    cgroup::FoundNetNs,
    kernel::{FrameHooks, Link, LinkEvents, Naming},
};

/// How often a namespace is visited in which nothing has happened, should an event have been missed.
const VISIT_EVERY: Duration = Duration::from_secs(60);

/// What is attached in one network namespace.
pub(super) struct Served {
    /// By hook and index of the interface.
    pub links: BTreeMap<(Hook, u32), Link>,
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

impl Served {
    pub(super) fn new(found: &FoundNetNs) -> Self {
        Self {
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
            && self.pending == 0
            && self.visited.is_some_and(is_fresh)
            && self.links.values_mut().all(is_attached)
    }

    /// Notes the interfaces that lack one of these hooks, or have them where they are not wanted any more.
    pub(super) fn expect(&mut self, hooks: &[Hook], is_moved: bool) {
        let lacks = |index: &u32| {
            hooks.iter().any(|hook| is_moved || !self.links.contains_key(&(*hook, *index)))
        };
        self.pending = self.interfaces().iter().filter(|index| lacks(index)).count();
    }

    /// The interfaces with something attached.
    pub(super) fn interfaces(&self) -> BTreeSet<u32> {
        self.links.keys().map(|(_, index)| *index).collect()
    }

    /// Attaches the hooks to as many interfaces of the calling thread's network namespace, which is this
    /// one, as there is room for, and forgets those that are gone. So many programs are attached at once,
    /// whatever the turn; whether that was all.
    pub(super) fn serve(
        &mut self,
        (hooks, position): (&[Hook], Position),
        programs: &FrameHooks,
        naming: &Naming<'_>,
        room: usize,
        (at_once, turn): (usize, Turn),
    ) -> Result<bool, ArmError> {
        self.visited = None;
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
                    vacant.insert(programs.attach_interface(at, (*index, name), naming)?);
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

fn is_attached(link: &mut Link) -> bool {
    // What cannot be looked at is left as it is.
    link.is_attached().unwrap_or(true)
}
