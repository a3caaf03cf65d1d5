//! Holds frames behind a TAP device in each network namespace of a target.
//!
//! The devices are files of this process, which one thread reads for all targets. When the process ends, however it ends,
//! they are gone; when the thread does not work, programs hear nothing from it and let frames pass.

mod frame;
mod held;
mod line;
mod readers;
mod thread;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Arc, OnceLock,
        mpsc::{self, Receiver, TryRecvError},
    },
    time::Duration,
};

use chaos_ebpf_common::line::QUEUE;
use chaos_plan::DelayLine;

pub(super) use self::readers::Readers;
use self::{
    line::{Line, Taps},
    readers::Orders,
    thread::Order,
};
use super::{ALIAS, Lost, NAME, SharedLines, random, random_device};
use crate::{
    arm::{
        ArmError,
        turn::{Turn, drop_within},
    },
    cgroup::{NetNsKey, Owner},
    kernel::{FrameHooks, LineMaps, Link, Naming, Tap},
};

/// A running line. Dropping it sends on at once what it holds.
pub(in crate::arm) struct ReaderLine {
    device: u32,
    served: BTreeMap<NetNsKey, Served>,
    /// Number of the next device.
    next: u32,
    /// By which the thread knows the line.
    number: u32,
    orders: Orders,
    /// Numbers of devices that somebody else took away.
    gone: Receiver<u32>,
    /// Why the line has ended by itself.
    failure: Arc<OnceLock<String>>,
    /// Gives back the devices when all is sent on; closed without them where the thread panicked.
    ended: Receiver<Taps>,
    taps: OnceCell<Taps>,
    lost: Arc<Lost>,
    /// In namespaces that are no longer wanted, or gone.
    unwanted: Vec<End>,
    is_open: bool,
}

/// How long the thread may take to hear that a line is open.
const LONGEST_OPENING: Duration = Duration::from_millis(100);

/// How long it may take to send on what a line holds that nobody sees off.
const LONGEST_END: Duration = Duration::from_secs(1);

/// A device that is no longer needed, unless the thread has closed it, and the programs at it. They go
/// after it, so that no frame meets a device without them.
pub(in crate::arm) struct End {
    _tap: Option<Tap>,
    _served: Served,
}

/// A device.
struct Served {
    /// By which the thread knows it.
    number: u32,
    /// Lets nothing into it but what our programs send, and sends frames on that come back.
    _links: [Link; 2],
}

impl ReaderLine {
    /// Has the thread serve a line, without any device yet.
    pub(super) fn start(maps: LineMaps, shared: &SharedLines) -> Result<Self, ArmError> {
        let device = random_device()?;
        let lost = Arc::new(Lost::default());
        let (tell_gone, gone) = mpsc::channel();
        let (give_back, ended) = mpsc::channel();
        let failure = Arc::new(OnceLock::new());
        let taken = maps.given()?;
        let line = Line {
            maps,
            device,
            // Not 0, which is nobody's.
            key: random()? | 1 << 63,
            taps: Taps::new(),
            queue: held::Queue::default(),
            share: shared.memory.share(),
            taken,
            on_way: 0,
            counted_at: 0,
            said: (0, 0),
            state: line::State::Closed,
            lost: lost.clone(),
            gone: tell_gone,
            failure: failure.clone(),
            ended: give_back,
        };
        let (orders, number) = shared.readers.start(line)?;
        Ok(Self {
            device,
            served: BTreeMap::new(),
            next: 0,
            number,
            orders,
            gone,
            failure,
            ended,
            taps: OnceCell::new(),
            lost,
            unwanted: Vec::new(),
            is_open: false,
        })
    }

    /// Makes a device in the calling thread's network namespace, which has this key, unless there is
    /// one.
    pub(super) fn serve(
        &mut self,
        namespace: NetNsKey,
        programs: &FrameHooks,
        owner: &Owner,
        naming: Option<&Naming<'_>>,
    ) -> Result<(), ArmError> {
        let number = self.next;
        let tap = match self.served.entry(namespace) {
            Entry::Occupied(_) => return Ok(()),
            Entry::Vacant(vacant) => {
                let tap = Tap::make(self.device, NAME)?;
                // Before it is up: nobody finds it without.
                let guard = programs.guard_line(self.device, naming)?;
                let sends_on = programs.attach_line(DelayLine::Tap, self.device, naming)?;
                tap.set_up(&owner.name(ALIAS, 0), QUEUE)?;
                vacant.insert(Served { number, _links: [guard, sends_on] });
                tap
            }
        };
        self.next += 1;
        self.orders.give(Order::Serve { line: self.number, number, tap });
        Ok(())
    }

    /// Whether there is a device in this namespace.
    pub(super) fn serves(&self, namespace: &NetNsKey) -> bool {
        self.served.contains_key(namespace)
    }

    /// Takes away the devices in namespaces that are no longer wanted, and their programs in the turns to
    /// come.
    pub(super) fn retain(&mut self, wanted: &dyn Fn(&NetNsKey) -> bool) {
        let unwanted = self.served.extract_if(.., |namespace, _| !wanted(namespace));
        for (_, served) in unwanted.collect::<Vec<_>>() {
            self.orders.give(Order::Forget { line: self.number, number: served.number });
            self.unwanted.push(End { _tap: None, _served: served });
        }
    }

    /// Goes on with that for a turn; whether all are gone.
    pub(super) fn drop_unwanted(&mut self, turn: Turn) -> bool {
        drop_within(turn, &mut self.unwanted)
    }

    /// Forgets the devices that somebody else took away, so that they are made again where the target
    /// still is.
    pub(super) fn forget_gone(&mut self) {
        for gone in self.gone.try_iter() {
            let gone = self.served.extract_if(.., |_, served| served.number == gone);
            self.unwanted.extend(gone.map(|(_, served)| End { _tap: None, _served: served }));
        }
    }

    /// Why it has ended by itself.
    pub(super) fn failure(&self) -> Option<&str> {
        self.has_ended().then(|| self.failure.get().map_or("its thread panicked", String::as_str))
    }

    /// Frames that could not be sent on.
    pub(super) fn lost(&self) -> &Lost {
        &self.lost
    }

    /// Lets programs give it frames from now on.
    pub(super) fn open(&mut self) {
        if std::mem::replace(&mut self.is_open, true) {
            return;
        }
        let (tell, told) = mpsc::channel();
        self.orders.give(Order::Open { line: self.number, tell });
        // So that the first frames find it at work. Where the thread has ended, frames pass.
        let _ = told.recv_timeout(LONGEST_OPENING);
    }

    /// Has the thread send on what it holds, and give back the devices.
    pub(super) fn tell_to_end(&mut self) {
        self.orders.give(Order::End { line: self.number });
    }

    /// Whether it has sent on all, or ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        if self.taps.get().is_none() {
            let taps = match self.ended.try_recv() {
                Ok(taps) => taps,
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => Taps::new(),
            };
            // Looked at above.
            let _ = self.taps.set(taps);
        }
        true
    }

    /// The devices of a line that has ended.
    pub(super) fn into_ends(mut self) -> Vec<End> {
        self.take_ends()
    }

    fn take_ends(&mut self) -> Vec<End> {
        let mut taps = self.taps.take().unwrap_or_default();
        let mut ends = std::mem::take(&mut self.unwanted);
        ends.extend(std::mem::take(&mut self.served).into_values().map(|served| {
            let tap = taps.remove(&served.number);
            End { _tap: tap, _served: served }
        }));
        ends
    }
}

impl Drop for ReaderLine {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.tell_to_end();
            // Where it takes longer, devices go after their programs.
            if !self.served.is_empty()
                && let Ok(taps) = self.ended.recv_timeout(LONGEST_END)
            {
                let _ = self.taps.set(taps);
            }
        }
        drop(self.take_ends());
    }
}
