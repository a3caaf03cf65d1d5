//! The delay line of a target: what holds the frames that programs send there until they are due.
//!
//! It has a device in each network namespace of the target, with the same index everywhere, as one
//! instance of the programs serves them all. The devices are gone when this process ends, however it
//! ends.

mod lost;
mod queue;
mod reader;

use std::io;

use chaos_ebpf_common::line::{DEVICE_MASK, DEVICES};

pub(super) use self::{lost::Lost, queue::Departing};
use self::{queue::QueueLine, reader::ReaderLine};
use super::ArmError;
use crate::{
    kernel::{Instance, KernelError, LineMaps, Naming},
    plan::Line,
    target::Owner,
};

/// How the names of the devices begin.
const NAME: &str = "chaos-line";
/// How their aliases begin; [`Owner`] writes the rest.
const ALIAS: &str = "chaos-agent-line-";

/// A running delay line.
pub(super) enum DelayLine {
    Queue(Box<QueueLine>),
    Reader(ReaderLine),
}

impl DelayLine {
    /// Starts it, without any device yet.
    pub(super) fn start(line: Line, maps: LineMaps) -> Result<Self, ArmError> {
        Ok(match line {
            Line::Queue => Self::Queue(QueueLine::start(maps)?.into()),
            Line::Reader => Self::Reader(ReaderLine::start(maps)?),
        })
    }

    /// Makes a device in the calling thread's network namespace, which has this inode, unless there
    /// is one. Programs are attached by filters where `naming` is for some.
    pub(super) fn serve(
        &mut self,
        namespace: u64,
        instance: &mut Instance,
        owner: &Owner,
        naming: Option<&Naming<'_>>,
    ) -> Result<(), ArmError> {
        match self {
            Self::Queue(line) => line.serve(namespace, instance, owner, naming),
            Self::Reader(line) => line.serve(namespace, instance, owner, naming),
        }
    }

    /// Looks after it; call it now and then.
    pub(super) fn renew(&mut self) -> Result<(), ArmError> {
        match self {
            Self::Queue(line) => line.take_stock(),
            Self::Reader(_) => Ok(()),
        }
    }

    /// Frames that could not be sent on, where it knows of such.
    pub(super) fn lost(&self) -> Option<&Lost> {
        match self {
            Self::Queue(_) => None,
            Self::Reader(line) => Some(line.lost()),
        }
    }

    /// Ends it when no program gives it frames any more, and gives the maps back; `None` where the
    /// reader has panicked. The reader sends on what it holds; what a queue holds is on its way.
    pub(super) fn stop(self) -> (Option<LineMaps>, Option<Departing>) {
        match self {
            Self::Queue(line) => {
                let (maps, departing) = line.stop();
                (Some(maps), Some(departing))
            }
            Self::Reader(line) => (line.stop(), None),
        }
    }
}

/// An index for its devices that no other target's line is likely to have.
fn random_device() -> Result<u32, KernelError> {
    let number = getrandom::u32().map_err(|error| KernelError::Call {
        call: "getrandom",
        source: io::Error::other(error),
    })?;
    Ok(DEVICES | number & !DEVICE_MASK)
}
