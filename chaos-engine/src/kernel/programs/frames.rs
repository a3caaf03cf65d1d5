//! Attaches programs to the interfaces of one target.

use std::os::fd::BorrowedFd;

use aya::maps::{Array, MapData};
use chaos_ebpf_common::{line::Reader, tables::FrameOwner};
use chaos_plan::DelayLine;

use super::{Loaded, Programs, Rooms};
use crate::kernel::{KernelError, LineMaps, Link, Naming, maps::failed, pool::Range};

/// What a target has at interfaces, besides what it shares with others ([`FrameGroup`](super::FrameGroup)). It has a number of its own there, other than at cgroups: programs that are still
/// attached when it is closed lead nowhere, whatever is armed on the cgroup next. Drop it after the links.
pub struct FrameHooks {
    pub(super) programs: Programs,
    /// The id of the cgroup.
    cgroup: u64,
    level: u32,
    pub(super) number: u32,
}

impl Programs {
    /// For the frames of the cgroup with this id and depth. Nothing is attached.
    pub fn frames(&self, cgroup: u64, level: u32) -> Result<FrameHooks, KernelError> {
        let mut loaded = self.loaded();
        let number = loaded.room(|rooms| rooms.frames.take(1), Rooms::no_frames)?.first;
        let programs = self.clone();
        let mut line_maps = loaded.lines.of(number);
        let told = line_maps
            .say(&Reader::default())
            .and_then(|()| loaded.own_frames(number, owner(cgroup, level)))
            .and_then(|()| loaded.add_frames(cgroup, level, number));
        if let Err(error) = told {
            loaded.rooms.frames.give_back(Range::one(number));
            return Err(error);
        }
        Ok(FrameHooks { programs, cgroup, level, number })
    }
}

impl FrameHooks {
    /// The id of the target's cgroup.
    pub fn cgroup(&self) -> u64 {
        self.cgroup
    }

    /// Has programs tell, from now on, when the target uses a network namespace that it has not used before (kernel 5.7).
    /// `cgroup` is its own; the name is for the error message.
    pub fn hear_of_namespaces(
        &self,
        cgroup: BorrowedFd<'_>,
        name: &str,
    ) -> Result<Link, KernelError> {
        let mut loaded = self.programs.loaded();
        let link = loaded.object.attach_namespaces(cgroup, name)?;
        loaded.namespaces.tell(self.cgroup, self.number)?;
        Ok(link)
    }

    /// Whose frames they are.
    pub(super) fn owner(&self) -> FrameOwner {
        owner(self.cgroup, self.level)
    }

    /// Attaches the program that sends on what comes out of a delay line to the line's device, which
    /// is in the calling thread's network namespace; by a filter where `naming` is for one.
    pub fn attach_line(
        &self,
        line: DelayLine,
        device: u32,
        naming: Option<&Naming<'_>>,
    ) -> Result<Link, KernelError> {
        self.programs.loaded().object.attach_line(self.number, line, device, naming)
    }

    /// Attaches the program that lets nothing but frames of ours into the device of a line that is read;
    /// likewise.
    pub fn guard_line(
        &self,
        device: u32,
        naming: Option<&Naming<'_>>,
    ) -> Result<Link, KernelError> {
        self.programs.loaded().object.guard_line(self.number, device, naming)
    }

    /// Attaches the programs that turn frames round to the far end of a delay line that is a queue, in
    /// the calling thread's network namespace.
    pub fn attach_queue(
        &self,
        device: u32,
        naming: Option<&Naming<'_>>,
    ) -> Result<[Link; 2], KernelError> {
        self.programs.loaded().object.attach_queue(device, naming)
    }

    /// By which programs and a delay line of the target understand each other. There is one line at a time.
    pub fn line_maps(&self) -> LineMaps {
        self.programs.loaded().lines.of(self.number)
    }

    /// Leads what is still attached nowhere, for good.
    pub fn close(&self) -> Result<(), KernelError> {
        self.programs.loaded().close_frames(self.cgroup, self.number)
    }
}

impl Drop for FrameHooks {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "programs at interfaces were not led past their faults");
        }
        let mut loaded = self.programs.loaded();
        loaded.object.forget_jumps(self.number, false);
        loaded.rooms.frames.rest(Range::one(self.number));
    }
}

fn owner(cgroup: u64, level: u32) -> FrameOwner {
    FrameOwner { cgroup, level, padding: 0 }
}

/// Whose frames programs at interfaces ask about, by the numbers of targets there.
pub(super) type FrameOwners = Array<MapData, FrameOwner>;

impl Loaded {
    fn own_frames(&mut self, number: u32, owner: FrameOwner) -> Result<(), KernelError> {
        self.frame_owners.set(number, &owner, 0).map_err(failed("update", "FRAME_OWNERS"))
    }

    /// Has programs with this number ask the texts of a target.
    fn add_frames(&mut self, cgroup: u64, level: u32, number: u32) -> Result<(), KernelError> {
        self.row(cgroup, level)?.frames.insert(number);
        let led = self.lead(cgroup).and_then(|()| self.remember_ended(cgroup));
        if led.is_err() {
            self.close_frames(cgroup, number)?;
        }
        led
    }

    fn close_frames(&mut self, cgroup: u64, number: u32) -> Result<(), KernelError> {
        let Some(row) = self.rows.get_mut(&cgroup) else { return Ok(()) };
        if row.frames.remove(&number) {
            self.tables.lead(&[number], &[])?;
            self.forget_row_if_over(cgroup)?;
        }
        Ok(())
    }

    /// Makes room for the connections that rules of a target reset, if it has such.
    pub(super) fn remember_ended(&mut self, cgroup: u64) -> Result<(), KernelError> {
        let Some(row) = self.rows.get(&cgroup) else { return Ok(()) };
        if row.sets().any(|set| set.resets) {
            let numbers = row.frames.clone();
            numbers.into_iter().try_for_each(|number| self.ended.need(number))?;
        }
        Ok(())
    }
}
