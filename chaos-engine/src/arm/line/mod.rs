//! The delay line of a target: what holds the frames that programs send there until they are due.
//!
//! It has a device in each network namespace of the target, with the same index everywhere. The devices are gone when this
//! process ends, however it ends.

mod leaving;
mod lost;
mod memory;
mod queue;
mod reader;

use std::io;

use chaos_ebpf_common::line::{DEVICE_MASK, DEVICES};
use chaos_plan::DelayLine;

pub(super) use self::{leaving::Leaving, lost::Lost};
use self::{
    memory::HeldMemory,
    queue::QueueLine,
    reader::{ReaderLine, Readers},
};
use super::{ArmError, turn::Turn};
use crate::{
    cgroup::{NetNsKey, Owner},
    kernel::{FrameHooks, KernelError, LineMaps, Naming},
};

/// How the names of the devices begin.
const NAME: &str = "chaos-line";
/// How their aliases begin; [`Owner`] writes the rest.
const ALIAS: &str = "chaos-agent-line-";

/// What the delay lines of all targets of a process share.
#[derive(Clone)]
pub(super) struct SharedLines {
    /// For the frames that they hold.
    memory: HeldMemory,
    readers: Readers,
}

impl SharedLines {
    /// With so many bytes for the frames that they hold.
    pub(super) fn new(memory: u64) -> Self {
        Self { memory: HeldMemory::new(memory), readers: Readers::default() }
    }
}

/// A running delay line.
pub(super) enum RunningLine {
    Fq(Box<QueueLine>),
    Tap(ReaderLine),
}

impl RunningLine {
    /// Starts it, without any device yet; it takes frames when it is [open](Self::open).
    pub(super) fn start(
        line: DelayLine,
        maps: LineMaps,
        shared: &SharedLines,
    ) -> Result<Self, ArmError> {
        Ok(match line {
            DelayLine::Fq => Self::Fq(QueueLine::start(maps, &shared.memory)?.into()),
            DelayLine::Tap => Self::Tap(ReaderLine::start(maps, shared)?),
        })
    }

    /// Makes a device in the calling thread's network namespace, which has this key, unless there is
    /// one. Programs are attached by filters where `naming` is for some.
    pub(super) fn serve(
        &mut self,
        namespace: NetNsKey,
        programs: &FrameHooks,
        owner: &Owner,
        naming: Option<&Naming<'_>>,
    ) -> Result<(), ArmError> {
        match self {
            Self::Fq(line) => line.serve(namespace, programs, owner, naming),
            Self::Tap(line) => line.serve(namespace, programs, owner, naming),
        }
    }

    /// Whether it has a device in this namespace.
    pub(super) fn serves(&self, namespace: &NetNsKey) -> bool {
        match self {
            Self::Fq(line) => line.serves(namespace),
            Self::Tap(line) => line.serves(namespace),
        }
    }

    /// Takes away the devices in namespaces that are no longer wanted, and what they hold with them.
    pub(super) fn retain(&mut self, wanted: &dyn Fn(&NetNsKey) -> bool) {
        match self {
            Self::Fq(line) => line.retain(wanted),
            Self::Tap(line) => line.retain(wanted),
        }
    }

    /// Goes on for a turn with what [`RunningLine::retain`] left to be done; whether nothing is left.
    pub(super) fn drop_unwanted(&mut self, turn: Turn) -> bool {
        match self {
            Self::Fq(line) => line.drop_unwanted(turn),
            Self::Tap(line) => line.drop_unwanted(turn),
        }
    }

    /// Why it has ended, if it did so by itself: then frames are no longer held.
    pub(super) fn failure(&self) -> Option<&str> {
        match self {
            Self::Fq(_) => None,
            Self::Tap(line) => line.failure(),
        }
    }

    /// Looks after it; call it now and then.
    pub(super) fn renew(&mut self) -> Result<(), ArmError> {
        match self {
            Self::Fq(line) => line.take_stock(),
            Self::Tap(line) => {
                line.forget_gone();
                Ok(())
            }
        }
    }

    /// Frames that could not be sent on, where it knows of such.
    pub(super) fn lost(&self) -> Option<&Lost> {
        match self {
            Self::Fq(_) => None,
            Self::Tap(line) => Some(line.lost()),
        }
    }

    /// Lets programs give it frames from now on: its devices are there.
    pub(super) fn open(&mut self) -> Result<(), ArmError> {
        match self {
            Self::Fq(line) => line.open(),
            Self::Tap(line) => {
                line.open();
                Ok(())
            }
        }
    }

    /// Ends it when no program gives it frames any more. The reader sends on at once what it holds; what a queue holds is
    /// on its way.
    pub(super) fn stop(self, leaving: &mut Leaving) {
        match self {
            Self::Fq(line) => leaving.add_queue(*line),
            Self::Tap(mut line) => {
                line.tell_to_end();
                leaving.add_reader(line);
            }
        }
    }
}

/// An index for its devices that no other target's line is likely to have.
fn random_device() -> Result<u32, KernelError> {
    Ok(DEVICES | random()? as u32 & !DEVICE_MASK)
}

fn random() -> Result<u64, KernelError> {
    getrandom::u64()
        .map_err(|error| KernelError::Call { call: "getrandom", source: io::Error::other(error) })
}
