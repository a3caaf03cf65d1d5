//! Groups of targets that share the programs at the interfaces of a network namespace.
//!
//! A program at an interface stands there for a group. It finds by the cgroup of a frame's socket which targets of the group
//! the frame belongs to, so whoever is in none pays for one look-up, and another target attaches nothing.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};
use chaos_ebpf_common::{
    MOST_DEPTHS,
    tables::{FrameGroup as Row, FrameMember, FrameOwner},
};
use chaos_plan::{Hook, Position};

use super::{FrameHooks, Programs, Rooms};
use crate::kernel::{
    KernelError, Link, Naming,
    maps::{failed, is_absent, map},
    pool::Range,
};

/// A group of targets, without any yet. Drop it after its links.
pub struct FrameGroup {
    programs: Programs,
    number: u32,
}

/// A target's place in a group. Dropping it leaves the group: its programs do not ask about the target any more.
pub struct Membership {
    programs: Programs,
    group: u32,
    target: u32,
}

impl Programs {
    /// A group of its own number, to which nothing is attached.
    pub fn frame_group(&self) -> Result<FrameGroup, KernelError> {
        let mut loaded = self.loaded();
        let number = loaded.room(|rooms| rooms.groups.take(1), Rooms::no_groups)?.first;
        if let Err(error) = loaded.groups.say(number) {
            loaded.rooms.groups.give_back(Range::one(number));
            return Err(error);
        }
        Ok(FrameGroup { programs: self.clone(), number })
    }
}

impl FrameGroup {
    /// Attaches a hook to an interface of the calling thread's network namespace, by its index; its name is for the error
    /// message. `naming` is for filters.
    pub fn attach_interface(
        &self,
        at: (Hook, Position),
        interface: (u32, &str),
        naming: &Naming<'_>,
    ) -> Result<Link, KernelError> {
        self.programs.loaded().object.attach_interface(self.number, at, interface, naming)
    }
}

impl Drop for FrameGroup {
    fn drop(&mut self) {
        let mut loaded = self.programs.loaded();
        loaded.object.forget_jumps(self.number, true);
        loaded.rooms.groups.rest(Range::one(self.number));
    }
}

impl FrameHooks {
    /// A group, for this target and others.
    pub fn new_group(&self) -> Result<FrameGroup, KernelError> {
        self.programs.frame_group()
    }

    /// Has the programs of a group ask about the target's frames from now on.
    pub fn join(&self, group: &FrameGroup) -> Result<Membership, KernelError> {
        let (group, target) = (group.number, self.number);
        self.programs.loaded().groups.join(group, target, self.owner())?;
        Ok(Membership { programs: self.programs.clone(), group, target })
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Err(error) = self.programs.loaded().groups.leave(self.group, self.target) {
            tracing::warn!(%error, "programs at interfaces still look for a target");
        }
    }
}

/// Who is in which group.
pub(super) struct Groups {
    /// By the numbers of groups.
    rows: Array<MapData, Row>,
    listed: HashMap<MapData, FrameMember, u32>,
    /// By the numbers of groups, and then of targets.
    members: BTreeMap<u32, BTreeMap<u32, FrameOwner>>,
}

impl Groups {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let (rows, listed) = (map(ebpf, "FRAME_GROUPS")?, map(ebpf, "FRAME_MEMBERS")?);
        Ok(Self { rows, listed, members: BTreeMap::new() })
    }

    fn join(&mut self, group: u32, target: u32, owner: FrameOwner) -> Result<(), KernelError> {
        let members = self.members.entry(group).or_default();
        members.insert(target, owner);
        let done = admit_depths(members)
            .and_then(|()| self.list(group, owner, Some(target)))
            // From here on programs may look for several.
            .and_then(|()| self.say(group));
        done.inspect_err(|_| {
            if let Err(error) = self.leave(group, target) {
                tracing::warn!(%error, "programs at interfaces still look for a target");
            }
        })
    }

    fn leave(&mut self, group: u32, target: u32) -> Result<(), KernelError> {
        let Some(members) = self.members.get_mut(&group) else { return Ok(()) };
        let Some(owner) = members.remove(&target) else { return Ok(()) };
        // Whoever is armed anew on the cgroup has another number.
        let next = members.iter().find(|(_, other)| other.cgroup == owner.cgroup);
        let next = next.map(|(number, _)| *number);
        if members.is_empty() {
            self.members.remove(&group);
        }
        // First, so that programs do not look for one that is not listed.
        self.say(group)?;
        self.list(group, owner, next)
    }

    /// Has programs find a target of a group by its cgroup, or none.
    fn list(
        &mut self,
        group: u32,
        owner: FrameOwner,
        target: Option<u32>,
    ) -> Result<(), KernelError> {
        let key = FrameMember { cgroup: owner.cgroup, group, padding: 0 };
        match target {
            Some(target) => {
                self.listed.insert(&key, &target, 0).map_err(failed("update", "FRAME_MEMBERS"))
            }
            None => match self.listed.remove(&key) {
                Err(error) if !is_absent(&error) => {
                    Err(failed("delete from", "FRAME_MEMBERS")(error))
                }
                _ => Ok(()),
            },
        }
    }

    /// Tells the programs of a group where to look.
    fn say(&mut self, group: u32) -> Result<(), KernelError> {
        let row = self.members.get(&group).map_or(row(&BTreeMap::new()), row);
        self.rows.set(group, &row, 0).map_err(failed("update", "FRAME_GROUPS"))
    }
}

/// What programs are told of a group with these members. Each half is written whole, and goes with either half of what is
/// told next: targets are listed before programs look for them, and for as long.
fn row(members: &BTreeMap<u32, FrameOwner>) -> Row {
    let depths = members.values().fold(0, |all, owner| all | 1_u64 << owner.level);
    let mut numbers = members.keys().copied();
    let only = match (numbers.next(), numbers.next()) {
        (Some(only), None) => only,
        (Some(_), Some(_)) | (None, _) => Row::SEVERAL,
    };
    Row { depths, only, padding: 0 }
}

/// Whether programs can look at the depths of all of these.
fn admit_depths(members: &BTreeMap<u32, FrameOwner>) -> Result<(), KernelError> {
    let is_shallow = members.values().all(|owner| owner.level < u64::BITS);
    if is_shallow && row(members).depths.count_ones() as usize <= MOST_DEPTHS {
        return Ok(());
    }
    Err(KernelError::NoRoom {
        what: "targets with faults on frames at another depth of the cgroup hierarchy in one network namespace",
        room: MOST_DEPTHS as u32,
        remedy: " depths; disarm a target at another depth",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(levels: &[u32]) -> BTreeMap<u32, FrameOwner> {
        let owner = |level| FrameOwner { cgroup: 7, level, padding: 0 };
        (1..).zip(levels).map(|(number, level)| (number, owner(*level))).collect()
    }

    #[test]
    fn programs_look_for_an_owner_where_there_are_several() {
        let told = |levels: &[u32]| {
            let Row { depths, only, .. } = row(&members(levels));
            (depths, only)
        };
        assert_eq!(told(&[]), (0, Row::SEVERAL));
        assert_eq!(told(&[3]), (0b1000, 1));
        assert_eq!(told(&[3, 1, 3]), (0b1010, Row::SEVERAL));
    }

    #[test]
    fn a_depth_that_programs_cannot_look_at_is_refused() {
        let levels: Vec<u32> = (1..=MOST_DEPTHS as u32).collect();
        assert!(admit_depths(&members(&levels)).is_ok());
        assert!(admit_depths(&members(&[&levels[..], &[1]].concat())).is_ok());
        assert!(admit_depths(&members(&[&levels[..], &[20]].concat())).is_err());
        assert!(admit_depths(&members(&[64])).is_err());
    }
}
