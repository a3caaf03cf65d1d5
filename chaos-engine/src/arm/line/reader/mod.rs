//! A thread that holds frames, behind a TAP device in each network namespace of the target.
//!
//! The devices are files of this process. When it ends, however it ends, they are gone; when it does
//! not work, programs hear nothing from the reader and let frames pass.

mod frame;
mod held;
mod thread;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Arc, OnceLock,
        mpsc::{self, Receiver, Sender},
    },
    thread::JoinHandle,
    time::Duration,
};

use chaos_api::clock::boot_now;
use chaos_ebpf_common::line::QUEUE;
use chaos_plan::DelayLine;
use nix::sys::eventfd::{EfdFlags, EventFd};

use self::{
    held::Queue,
    thread::{Order, Reader},
};
use super::{ALIAS, Lost, NAME, memory::HeldMemory, random, random_device};
use crate::{
    arm::{
        ArmError,
        turn::{Turn, drop_within},
    },
    cgroup::{NetNsKey, Owner},
    kernel::{FrameHooks, KernelError, LineMaps, Link, Naming, Tap},
};

/// A running reader. Dropping it sends on at once what it holds.
pub(in crate::arm) struct ReaderLine {
    device: u32,
    served: BTreeMap<NetNsKey, Served>,
    /// Number of the next device.
    next: u64,
    orders: Option<Sender<Order>>,
    /// Numbers of devices that somebody else took away.
    gone: Receiver<u64>,
    /// Why the thread has ended by itself.
    failure: Arc<OnceLock<String>>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<BTreeMap<u64, Tap>>>,
    lost: Arc<Lost>,
    /// In namespaces that are no longer wanted, or gone.
    unwanted: Vec<End>,
    is_open: bool,
}

/// How long the thread may take to hear that it is open.
const LONGEST_OPENING: Duration = Duration::from_millis(100);

/// A device that is no longer needed, unless the thread has closed it, and the programs at it. They go
/// after it, so that no frame meets a device without them.
pub(in crate::arm) struct End {
    _tap: Option<Tap>,
    _served: Served,
}

/// A device.
struct Served {
    /// By which the thread knows it.
    number: u64,
    /// Lets nothing into it but what our programs send, and sends frames on that come back.
    _links: [Link; 2],
}

impl ReaderLine {
    /// Starts the thread, without any device yet.
    pub(super) fn start(maps: LineMaps, memory: &HeldMemory) -> Result<Self, ArmError> {
        let call = |call| move |source| KernelError::Call { call, source };
        let device = random_device()?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_value_and_flags(0, flags)
            .map_err(|errno| call("eventfd")(errno.into()))?;
        let wake = Arc::new(wake);
        let lost = Arc::new(Lost::default());
        let (orders, received) = mpsc::channel();
        let (tell_gone, gone) = mpsc::channel();
        let failure = Arc::new(OnceLock::new());
        let (taken, now) = (maps.given()?, boot_now());
        let reader = Reader {
            maps,
            device,
            orders: received,
            wake: wake.clone(),
            lost: lost.clone(),
            taps: BTreeMap::new(),
            gone: tell_gone,
            failure: failure.clone(),
            queue: Queue::default(),
            share: memory.share(),
            // Not 0, which is nobody's.
            key: random()? | 1 << 63,
            taken,
            said_at: now,
            is_open: false,
        };
        let thread = std::thread::Builder::new()
            .name("delay-line".to_owned())
            .spawn(|| reader.run())
            .map_err(call("start a thread"))?;
        Ok(Self {
            device,
            served: BTreeMap::new(),
            next: 0,
            orders: Some(orders),
            gone,
            failure,
            wake,
            thread: Some(thread),
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
        self.order(Order::Serve(number, tap));
        Ok(())
    }

    /// Takes away the devices in namespaces that are no longer wanted, and their programs in the turns to
    /// come.
    pub(super) fn retain(&mut self, wanted: &dyn Fn(&NetNsKey) -> bool) {
        let unwanted = self.served.extract_if(.., |namespace, _| !wanted(namespace));
        for (_, served) in unwanted.collect::<Vec<_>>() {
            self.order(Order::Forget(served.number));
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

    /// Why the thread has ended by itself.
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
        self.order(Order::Open(tell));
        // So that the first frames find it at work. Where the thread has ended, frames pass.
        let _ = told.recv_timeout(LONGEST_OPENING);
    }

    /// Sends on what it holds, and gives back the devices.
    pub(super) fn stop(mut self) -> Vec<End> {
        let mut taps = self.end();
        let mut ends = std::mem::take(&mut self.unwanted);
        ends.extend(std::mem::take(&mut self.served).into_values().map(|served| {
            let tap = taps.as_mut().and_then(|taps| taps.remove(&served.number));
            End { _tap: tap, _served: served }
        }));
        ends
    }

    /// Has the thread send on what it holds, and end.
    pub(super) fn tell_to_end(&mut self) {
        self.orders = None;
        self.wake();
    }

    /// Whether the thread has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn end(&mut self) -> Option<BTreeMap<u64, Tap>> {
        self.tell_to_end();
        self.thread.take()?.join().ok()
    }

    fn order(&self, order: Order) {
        // Nobody takes it where the thread has ended: it has said why, and frames pass.
        drop(self.orders.as_ref().map(|orders| orders.send(order)));
        self.wake();
    }

    fn wake(&self) {
        // It fails only where it has been woken 2^64 times.
        let _ = self.wake.write(1);
    }
}

impl Drop for ReaderLine {
    fn drop(&mut self) {
        self.end();
    }
}
