//! Programs at the interfaces of a target, and the delay line behind them.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use super::{
    ArmError,
    filters::with_naming,
    interfaces::{Interface, ethernet_interfaces},
    line::{DelayLine, Departing, Lost},
};
use crate::{
    kernel::{Instance, Link, Naming},
    plan::{Hook, Line},
    target::{CgroupRoot, NetNs, Owner, Target, TargetKind},
};

/// What is attached to the interfaces of one target. It belongs to one instance of the programs.
#[derive(Default)]
pub(super) struct Frames {
    /// By hook, inode of the network namespace and index of the interface.
    links: BTreeMap<(Hook, u64, u32), Link>,
    hooks: Vec<Hook>,
    /// Where a rule holds frames.
    line: Option<DelayLine>,
    /// Lines whose last rule has ended.
    departing: Vec<Departing>,
}

/// Whose interfaces they are.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub target: &'a Target,
    pub root: &'a CgroupRoot,
    /// This process, for whoever finds what it leaves.
    pub owner: &'a Owner,
}

impl Frames {
    /// Starts a delay line, unless one runs.
    pub(super) fn start_line(
        &mut self,
        line: Line,
        instance: &mut Instance,
    ) -> Result<(), ArmError> {
        if self.line.is_none()
            && let Some(maps) = instance.line_maps.take()
        {
            self.line = Some(DelayLine::start(line, maps)?);
        }
        Ok(())
    }

    /// Call it when no program holds frames any more.
    pub(super) fn stop_line(&mut self, instance: &mut Instance) {
        if let Some(line) = self.line.take() {
            let (maps, departing) = line.stop();
            instance.line_maps = maps;
            self.departing.extend(departing);
        }
    }

    pub(super) fn has_line(&self) -> bool {
        self.line.is_some()
    }

    /// Frames that were taken to be held and then could not be sent on.
    pub(super) fn lost(&self) -> Option<&Lost> {
        self.line.as_ref().and_then(DelayLine::lost)
    }

    /// Attaches these hooks, in place of others, to every interface.
    pub(super) fn attach(
        &mut self,
        hooks: &BTreeSet<Hook>,
        instance: &mut Instance,
        place: Place<'_>,
    ) -> Result<(), ArmError> {
        self.hooks = hooks.iter().copied().filter(|hook| hook.is_of_interfaces()).collect();
        self.serve(instance, place)
    }

    /// Takes the other hooks off.
    pub(super) fn retain(&mut self, hooks: &BTreeSet<Hook>) {
        self.links.retain(|(hook, ..), _| hooks.contains(hook));
    }

    /// Looks after the lines, and serves what the target has got since.
    pub(super) fn renew(
        &mut self,
        instance: &mut Instance,
        place: Place<'_>,
    ) -> Result<(), ArmError> {
        self.departing.retain_mut(|line| !line.is_over());
        let renewed = self.line.as_mut().map_or(Ok(()), DelayLine::renew);
        self.serve(instance, place).and(renewed)
    }

    /// Lines that may still have frames to send on.
    pub(super) fn take_departing(&mut self) -> Vec<Departing> {
        std::mem::take(&mut self.departing)
    }

    /// Attaches to every interface of every network namespace of the target that is not served yet.
    fn serve(&mut self, instance: &mut Instance, place: Place<'_>) -> Result<(), ArmError> {
        if self.hooks.is_empty() {
            return Ok(());
        }
        let Place { target, root, owner } = place;
        let mut namespaces = target.network_namespaces(root)?;
        if target.kind == TargetKind::Child
            && let own = NetNs::own()?
            && namespaces.iter().all(|namespace| namespace.inode() != own.inode())
        {
            // The child does not run yet; it will inherit our namespace.
            namespaces.push(own);
        }
        let Self { links, hooks, line, .. } = self;
        let by_filter = hooks.iter().any(|hook| hook.is_filter());
        for namespace in namespaces {
            let instance = &mut *instance;
            let attach = |naming: &Naming<'_>| -> Result<(), ArmError> {
                if let Some(line) = line {
                    line.serve(namespace.inode(), instance, owner, by_filter.then_some(naming))?;
                }
                for Interface { index, name } in ethernet_interfaces()? {
                    for hook in hooks.iter().copied() {
                        let place = (hook, namespace.inode(), index);
                        if let Entry::Vacant(vacant) = links.entry(place) {
                            vacant.insert(instance.attach_interface(hook, index, &name, naming)?);
                        }
                    }
                }
                Ok(())
            };
            namespace.enter_in_thread(|| with_naming(owner, attach))??;
        }
        Ok(())
    }
}
