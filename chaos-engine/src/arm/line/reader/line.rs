//! One line, as the thread that serves it sees it.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, OnceLock,
        mpsc::{SendError, Sender},
    },
};

use chaos_ebpf_common::line::{DEVICE_BYTES, Reader as Said, ReturnTag};

use super::{
    Lost,
    frame::{cost_to_read, header, set_return_tag, take_header},
    held::{Held, Queue, cost},
};
use crate::{
    arm::line::memory::Share,
    kernel::{KernelError, LineMaps, Tap},
};

/// Frames that are read from a device, or sent on, before others have their turn.
const BATCH: usize = 256;

/// How often a line says how it is while it has much to do (ns).
const SAY_EVERY: u64 = 1_000_000;

/// How often it does while nothing comes (ns): what the device has lost is noticed then.
const SAY_IDLE_EVERY: u64 = 500_000_000;

/// The devices of a line, by number.
pub(super) type Taps = BTreeMap<u32, Tap>;

/// Whether programs may give frames to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its devices are not there yet.
    Closed,
    Open,
    /// Never again: it sends on at once what it has.
    Ending,
}

/// Reads frames, holds them until they are due, and sends them on.
pub(super) struct Line {
    pub maps: LineMaps,
    pub device: u32,
    pub taps: Taps,
    pub queue: Queue,
    /// What it may hold.
    pub share: Share,
    /// Of its frames.
    pub key: u64,
    /// Bytes that were read, or lost on their way.
    pub taken: u64,
    /// Bytes that were neither when it was looked at last.
    pub on_way: u64,
    /// The boot-clock moment (ns) at which it was counted last.
    pub counted_at: u64,
    /// What the programs were told last: the bytes that were taken, and the room that there is.
    pub said: (u64, u64),
    pub state: State,
    pub lost: Arc<Lost>,
    /// Takes the numbers of devices that somebody else took away.
    pub gone: Sender<u32>,
    /// Why it ended by itself.
    pub failure: Arc<OnceLock<String>>,
    /// Takes the devices when it has ended, as each takes a while to close.
    pub ended: Sender<Taps>,
}

impl Line {
    /// Reads what is there of one device, up to a limit; whether that was all.
    pub(super) fn take(&mut self, number: u32, now: u64, buffer: &mut [u8]) -> bool {
        self.take_from(number, now, buffer).unwrap_or_else(|error| {
            self.lose(number, &error);
            true
        })
    }

    /// The same for all devices.
    fn take_all(&mut self, now: u64, buffer: &mut [u8]) -> bool {
        let mut is_empty = true;
        // It goes from device to device by their numbers, as one may go away on the way.
        let mut next = self.taps.keys().next().copied();
        while let Some(number) = next {
            is_empty &= self.take(number, now, buffer);
            next = self.taps.range(number + 1..).next().map(|(number, _)| *number);
        }
        is_empty
    }

    fn take_from(&mut self, number: u32, now: u64, buffer: &mut [u8]) -> io::Result<bool> {
        let Some(tap) = self.taps.get(&number) else {
            return Ok(true);
        };
        for _ in 0..BATCH {
            let Some(length) = tap.read(buffer)? else {
                return Ok(true);
            };
            let read = &buffer[..length];
            let Some(header) = header(read, self.key) else {
                continue;
            };
            self.taken = self.taken.wrapping_add(cost_to_read(read, &header));
            let Some(frame) = take_header(read, &header) else {
                continue;
            };
            // It was on its way in the share of the line, which may have become smaller.
            if self.queue.bytes() + cost(&frame) > self.share.granted() {
                self.lost.add(header.slot());
                continue;
            }
            self.queue.push(Held {
                due: now + header.left(now),
                tap: number,
                interface: header.interface,
                ingress: header.ingress(),
                slot: header.slot(),
                frame,
            });
        }
        Ok(false)
    }

    /// Gives up a device that cannot be read: somebody took it away, which may be the target itself in
    /// a network namespace of its own. The others go on. What it held is counted as lost.
    fn lose(&mut self, number: u32, error: &io::Error) {
        tracing::debug!(%error, "a device of a delay line is gone: what it held is lost");
        self.taps.remove(&number);
        // Nobody listens when the line ends.
        let _ = self.gone.send(number);
    }

    /// Sends on what is due, up to a limit.
    pub(super) fn send_due(&mut self, now: u64) {
        let until = if self.state == State::Ending { u64::MAX } else { now };
        for _ in 0..BATCH {
            let Some(held) = self.queue.pop_due(until) else { return };
            let slot = held.slot;
            if let Err(error) = self.send(held) {
                self.lost.add(slot);
                tracing::debug!(%error, "a held frame was lost");
            }
        }
    }

    fn send(&mut self, held: Held) -> Result<(), KernelError> {
        let Held { tap, interface, ingress, mut frame, .. } = held;
        let place = self.maps.place(interface)?;
        set_return_tag(&mut frame, ReturnTag { place, ingress });
        let failed = |source| KernelError::Call { call: "write to the TAP device", source };
        let gone = || failed(io::Error::from_raw_os_error(libc::ENODEV));
        self.taps.get(&tap).ok_or_else(gone)?.write(&frame).map_err(failed)
    }

    /// When it has to be asked again (boot clock, ns) if nothing comes.
    pub(super) fn next_due(&self) -> Option<u64> {
        if self.state == State::Ending { Some(0) } else { self.queue.next_due() }
    }

    /// Whether it has nothing, and nothing is on its way to it.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.bytes() == 0 && self.on_way == 0
    }

    /// Tells the programs how it is, if it is time to: what was lost on the way takes no room, and what others hold by
    /// now is not there for this one.
    pub(super) fn tend(&mut self, now: u64, buffer: &mut [u8]) -> Result<(), KernelError> {
        if self.state == State::Ending {
            return Ok(());
        }
        let every = if self.is_idle() { SAY_IDLE_EVERY } else { SAY_EVERY };
        if now >= self.counted_at.saturating_add(every) {
            self.count(now, buffer)?;
        } else if !self.is_idle() {
            return Ok(());
        }
        let news = (self.taken, self.new_room());
        if news == self.said { Ok(()) } else { self.say(now) }
    }

    /// Counts what is on its way.
    fn count(&mut self, now: u64, buffer: &mut [u8]) -> Result<(), KernelError> {
        // Before reading: what was given until here is read below, or the device has lost it.
        let given = self.maps.given()?;
        self.counted_at = now;
        if given == self.taken && self.on_way == 0 {
            // All of it was read. Other frames in the devices wake the thread by themselves.
            return Ok(());
        }
        let is_empty = self.take_all(now, buffer);
        // Signed, as both only ever grow.
        let on_way = given.wrapping_sub(self.taken) as i64;
        if is_empty && on_way > 0 {
            self.taken = given;
        }
        self.on_way = if is_empty { 0 } else { on_way.max(0) as u64 };
        Ok(())
    }

    fn new_room(&mut self) -> u64 {
        let held = self.queue.bytes();
        self.share.adjust(held + self.on_way).saturating_sub(held).min(DEVICE_BYTES)
    }

    fn say(&mut self, now: u64) -> Result<(), KernelError> {
        let (taken, room) = (self.taken, self.new_room());
        self.counted_at = now;
        self.said = (taken, room);
        let key = self.key;
        let device = if self.state == State::Open { self.device } else { 0 };
        self.maps.say(&Said { taken, room, key, device, ..Said::default() })
    }

    /// Lets programs give it frames.
    pub(super) fn open(&mut self, now: u64) -> Result<(), KernelError> {
        self.state = State::Open;
        self.say(now)
    }

    /// Lets frames pass from here on.
    pub(super) fn close(&mut self) {
        if self.state != State::Ending
            && let Err(error) = self.maps.say(&Said::default())
        {
            tracing::warn!(%error, "programs were not told of the delay line's end");
        }
        self.state = State::Ending;
    }

    /// Whether it has nothing left to send on, after it was [closed](Self::close).
    pub(super) fn is_over(&mut self, now: u64, buffer: &mut [u8]) -> bool {
        if self.state != State::Ending || self.queue.next_due().is_some() {
            return false;
        }
        self.take_all(now, buffer) && self.queue.next_due().is_none()
    }

    /// Ends it because something failed.
    pub(super) fn fail(&mut self, error: &dyn std::error::Error) {
        tracing::warn!(%error, "a delay line ended: frames are no longer held");
        // It may be set already by what failed first.
        let _ = self.failure.set(error.to_string());
        self.close();
    }

    /// Gives the devices back.
    pub(super) fn give_back(self) {
        // Where nobody takes them, they are closed here.
        let _: Result<(), SendError<Taps>> = self.ended.send(self.taps);
    }
}
