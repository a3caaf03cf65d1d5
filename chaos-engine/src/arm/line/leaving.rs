//! Sees off lines that take no more frames: each sends on those that it has, and then its devices are taken
//! away one after the other, which takes a grace period of the kernel for each.

use super::{
    queue::{self, QueueLeaving, QueueLine},
    reader::{self, ReaderLine},
};
use crate::arm::turn::{Turn, drop_within};

/// Such lines, and devices of those that have sent on all.
#[derive(Default)]
pub(in crate::arm) struct Leaving {
    queues: Vec<QueueLeaving>,
    readers: Vec<ReaderLine>,
    queue_ends: Vec<queue::End>,
    reader_ends: Vec<reader::End>,
}

impl Leaving {
    /// Stops a queue.
    pub(super) fn add_queue(&mut self, line: QueueLine) {
        let (leaving, unwanted) = line.stop();
        self.queues.push(leaving);
        self.queue_ends.extend(unwanted);
    }

    /// Takes a reader that has been told to end.
    pub(super) fn add_reader(&mut self, line: ReaderLine) {
        self.readers.push(line);
    }

    /// Takes over what another has.
    pub(in crate::arm) fn join(&mut self, other: Self) {
        let Self { queues, readers, queue_ends, reader_ends } = other;
        self.queues.extend(queues);
        self.readers.extend(readers);
        self.queue_ends.extend(queue_ends);
        self.reader_ends.extend(reader_ends);
    }

    /// Looks which lines have sent on their last frame, or would send it too late. Cheap.
    pub(in crate::arm) fn see_off(&mut self) {
        for line in self.queues.extract_if(.., |line| line.is_over()) {
            self.queue_ends.extend(line.into_ends());
        }
        for line in self.readers.extract_if(.., |line| line.has_ended()) {
            self.reader_ends.extend(line.into_ends());
        }
    }

    /// Goes on for a turn with taking devices away; whether none is left of lines that were seen off.
    pub(in crate::arm) fn drop_ends(&mut self, turn: Turn) -> bool {
        drop_within(turn, &mut self.queue_ends) && drop_within(turn, &mut self.reader_ends)
    }

    /// Whether there is something to take away.
    pub(in crate::arm) fn has_ends(&self) -> bool {
        !self.queue_ends.is_empty() || !self.reader_ends.is_empty()
    }

    /// Whether lines still send on frames.
    pub(in crate::arm) fn has_lines(&self) -> bool {
        !self.queues.is_empty() || !self.readers.is_empty()
    }

    /// Whether a reader does, which takes no longer than a moment.
    pub(in crate::arm) fn is_read(&self) -> bool {
        self.readers.iter().any(|line| !line.has_ended())
    }
}
