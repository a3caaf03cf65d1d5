//! A queue of the kernel that holds frames: fq, behind a veth in each network namespace of the target.
//!
//! The far ends are in a network namespace that nobody but this process holds: it ends with the
//! process, and so do the veths. Nothing of the target's is replaced, and nobody has to wake up for a
//! frame.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use chaos_api::clock::boot_ahead;
use chaos_ebpf_common::line::{Reader as Said, cost};
use chaos_plan::DelayLine;

use super::{
    ALIAS, NAME,
    memory::{HeldMemory, Share},
    random_device,
};
use crate::{
    arm::{
        ArmError,
        turn::{Turn, drop_within},
    },
    cgroup::{NetNs, NetNsKey, Owner},
    kernel::{FrameHooks, KernelError, LineMaps, Link, Naming, Veth},
};

/// Index of the first far end; 1 is the loopback.
const FIRST_FAR: u32 = 2;

/// How long the last frames may take to leave: four times what they should
/// ([`chaos_ebpf_common::line::LONGEST_ROUND`]).
const LONGEST_DEPARTURE: Duration = Duration::from_secs(1);

/// What a frame may take to the queue, and from it.
const LAST_STEPS: Duration = Duration::from_millis(2);

/// A running queue.
pub(in crate::arm) struct QueueLine {
    device: u32,
    /// Whether programs may give it frames.
    is_open: bool,
    maps: LineMaps,
    ends: Ends,
    /// In namespaces that are no longer wanted.
    unwanted: Vec<End>,
}

/// By network namespace of the target.
struct Ends {
    served: BTreeMap<NetNsKey, End>,
    /// Index of the next far end.
    next: u32,
    /// What may wait in all of them.
    share: Share,
    /// Where the far ends are.
    yard: NetNs,
}

/// A veth and the programs at it. They go after it, so that no frame meets an end without them.
pub(in crate::arm) struct End {
    veth: Veth,
    _near: Link,
    _far: [Link; 2],
}

impl QueueLine {
    pub(super) fn start(maps: LineMaps, memory: &HeldMemory) -> Result<Self, ArmError> {
        let (share, yard) = (memory.share(), NetNs::make()?);
        let ends = Ends { served: BTreeMap::new(), next: FIRST_FAR, share, yard };
        let unwanted = Vec::new();
        Ok(Self { device: random_device()?, is_open: false, maps, ends, unwanted })
    }

    pub(super) fn serve(
        &mut self,
        namespace: NetNsKey,
        programs: &FrameHooks,
        owner: &Owner,
        naming: Option<&Naming<'_>>,
    ) -> Result<(), ArmError> {
        let Ends { served, next, yard, .. } = &mut self.ends;
        if let Entry::Vacant(vacant) = served.entry(namespace) {
            let far = *next;
            *next += 1;
            Veth::make(self.device, NAME, &owner.name(ALIAS, 0), yard.as_fd(), far)?;
            let (veth, links) = yard.enter_in_thread(|| {
                // The first thing, as dropping it removes the pair.
                let mut veth = Veth::take(far)?;
                veth.queue()?;
                Ok::<_, KernelError>((veth, programs.attach_queue(far, naming)?))
            })??;
            let near = programs.attach_line(DelayLine::Fq, self.device, naming)?;
            vacant.insert(End { veth, _near: near, _far: links });
        }
        Ok(())
    }

    /// Whether there is a pair in this namespace.
    pub(super) fn serves(&self, namespace: &NetNsKey) -> bool {
        self.ends.served.contains_key(namespace)
    }

    /// Takes away the pairs in namespaces that are no longer wanted, in the turns to come.
    pub(super) fn retain(&mut self, wanted: &dyn Fn(&NetNsKey) -> bool) {
        let unwanted = self.ends.served.extract_if(.., |namespace, _| !wanted(namespace));
        self.unwanted.extend(unwanted.map(|(_, end)| end));
    }

    /// Goes on with that for a turn; whether all are gone.
    pub(super) fn drop_unwanted(&mut self, turn: Turn) -> bool {
        drop_within(turn, &mut self.unwanted)
    }

    /// Lets programs give it frames from now on.
    pub(super) fn open(&mut self) -> Result<(), ArmError> {
        if !std::mem::replace(&mut self.is_open, true) { self.take_stock() } else { Ok(()) }
    }

    /// Tells the programs, if they may give it frames, how much room there is: what was given and neither came back nor
    /// waits has been lost, and takes none.
    pub(super) fn take_stock(&mut self) -> Result<(), ArmError> {
        if !self.is_open {
            return Ok(());
        }
        let inside = self.maps.given()?.wrapping_sub(self.maps.returned()?);
        let waiting = self.ends.waiting()?;
        let (taken, room) = (inside.wrapping_sub(waiting), self.ends.share.adjust(waiting));
        // It answers for as long as its programs are attached.
        let ahead = boot_ahead();
        let device = self.device;
        self.maps.say(&Said { taken, room, ahead, key: 0, device, queue: 1 })?;
        Ok(())
    }

    /// Also gives what [`QueueLine::retain`] left to be done.
    pub(super) fn stop(mut self) -> (QueueLeaving, Vec<End>) {
        if let Err(error) = self.maps.say(&Said::default()) {
            tracing::warn!(%error, "programs were not told of the delay line's end");
        }
        let until = Instant::now() + LONGEST_DEPARTURE;
        let departing = QueueLeaving { ends: self.ends, until, empty_since: None };
        (departing, self.unwanted)
    }
}

impl Ends {
    /// Bytes in the queues, each frame at its [`cost`]. Ends that are gone are forgotten.
    fn waiting(&mut self) -> Result<u64, KernelError> {
        let (mut bytes, mut gone) = (0, Vec::new());
        for (namespace, end) in &mut self.served {
            match end.veth.queued()? {
                Some((frames, length)) => {
                    bytes += u64::from(length) + u64::from(frames) * cost(0);
                }
                None => gone.push(*namespace),
            }
        }
        self.served.retain(|namespace, _| !gone.contains(namespace));
        Ok(bytes)
    }
}

/// A queue that takes no more frames, and sends on those that it has when they are due.
pub(in crate::arm) struct QueueLeaving {
    ends: Ends,
    until: Instant,
    empty_since: Option<Instant>,
}

impl QueueLeaving {
    /// Whether the last frame has left, or would leave too late. Then the ends can be dropped.
    pub(in crate::arm) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        // One that cannot be looked at is gone.
        let is_empty = self.ends.waiting().unwrap_or(0) == 0;
        self.empty_since = is_empty.then(|| self.empty_since.unwrap_or(now));
        now >= self.until || self.empty_since.is_some_and(|since| now - since >= LAST_STEPS)
    }
    pub(in crate::arm) fn into_ends(self) -> Vec<End> {
        self.ends.served.into_values().collect()
    }
}
