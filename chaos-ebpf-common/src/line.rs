//! The delay line: a device into which programs send the frames that are to be held, and from which
//! they come back when they are due. What both sides agree on. There are two:
//!
//! - A veth whose far end is in a network namespace that nobody else knows, with fq as its queueing
//!   discipline. Programs there turn each frame round and say when it is to leave. It has a
//!   [`FqTag`] in its control block.
//! - A TAP device whose reader holds the frames. Programs put a [`TapHeader`] in front of the link
//!   header, or, on the loopback, over the link addresses, which say nothing there. A frame comes back
//!   without it and with a VLAN tag, which the kernel takes off before it asks the program at the
//!   device; the tag says where the frame was going ([`ReturnTag`]).

use crate::{LOOPBACK, SLOT_BITS, hold::LONGEST_HOLD};

/// Interface indices of delay lines begin with these bits. So one is known by its index; and the
/// index of its line is the mark of a frame that comes back on its way into the stack, so that no
/// program asks about it again.
pub const DEVICES: u32 = 0x4c40_0000;
/// The bits that they begin with.
pub const DEVICE_MASK: u32 = 0xfff0_0000;

/// Whether this is the index of a delay line, or the mark of a frame that comes out of one.
#[inline(always)]
pub fn is_line(index: u32) -> bool {
    index & DEVICE_MASK == DEVICES
}

/// When the reader has said nothing for this long (ns), frames are not held: it may be stopped.
pub const LONGEST_SILENCE: u64 = 200_000_000;

/// Frames that the device takes before the reader has read any (`txqueuelen`).
pub const QUEUE: u32 = 20_000;
/// Bytes on their way to the reader, each frame at its [`cost_to_reader`], from which on there is no more
/// room, whatever the agent has left.
pub const DEVICE_BYTES: u64 = 64 << 20;
/// What a short frame counts as: the device has room for [`QUEUE`] of them, and programs on other
/// processors may be about to add theirs.
const LEAST_COST: u64 = DEVICE_BYTES / (QUEUE as u64 - 1_000) + 1;

/// What a frame of this length takes in a queue of the kernel, in bytes: with what the kernel keeps
/// about it.
#[inline(always)]
pub const fn cost(length: u32) -> u64 {
    length as u64 + 1024
}

/// What a frame of this length takes on its way to the reader, in bytes.
#[inline(always)]
pub const fn cost_to_reader(length: u32) -> u64 {
    let cost = cost(length);
    if cost > LEAST_COST { cost } else { LEAST_COST }
}

/// Where a frame in the queue of the kernel was going and when, in the last two words of its control
/// block: fq notes in those before when the frame leaves.
/// <https://github.com/torvalds/linux/blob/v6.12/net/sched/sch_fq.c> `struct fq_skb_cb`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FqTag(u64);

/// Bits of a moment until which a frame is held, which is not far from now.
const DUE_BITS: u32 = 36;

/// How long (ns) it is until a moment of which so many bits are known. One that is past by up to 8 s is now.
#[inline(always)]
fn left(due: u64, now: u64) -> u64 {
    let left = due.wrapping_sub(now) & ((1 << DUE_BITS) - 1);
    if left > LONGEST_HOLD { 0 } else { left }
}

impl FqTag {
    const INTERFACE_BITS: u32 = 22;
    const INGRESS: u64 = 1 << (DUE_BITS + Self::INTERFACE_BITS);
    /// In the bits that are left, so that 0 is none.
    const MAGIC: u64 = 0b10110 << (DUE_BITS + Self::INTERFACE_BITS + 1);

    /// For a frame that is held until this moment (CLOCK_MONOTONIC, ns), at most
    /// [`LONGEST_HOLD`](crate::hold::LONGEST_HOLD) from now on, and was at this interface, on its way into the
    /// stack or out of the interface. `None` for an interface whose index has more than 22 bits.
    #[inline(always)]
    pub fn new(due: u64, interface: u32, ingress: bool) -> Option<Self> {
        if interface >> Self::INTERFACE_BITS != 0 {
            return None;
        }
        let due = due & ((1 << DUE_BITS) - 1);
        let interface = (interface as u64) << DUE_BITS;
        Some(Self(Self::MAGIC | if ingress { Self::INGRESS } else { 0 } | interface | due))
    }

    #[inline(always)]
    pub fn to_words(self) -> [u32; 2] {
        [self.0 as u32, (self.0 >> 32) as u32]
    }

    /// `None` for what is no ticket.
    #[inline(always)]
    pub fn from_words([low, high]: [u32; 2]) -> Option<Self> {
        let ticket = (high as u64) << 32 | low as u64;
        (ticket & !(2 * Self::INGRESS - 1) == Self::MAGIC).then_some(Self(ticket))
    }

    #[inline(always)]
    pub fn interface(self) -> u32 {
        (self.0 >> DUE_BITS) as u32 & ((1 << Self::INTERFACE_BITS) - 1)
    }

    /// Whether it was on its way into the stack.
    #[inline(always)]
    pub fn ingress(self) -> bool {
        self.0 & Self::INGRESS != 0
    }

    /// How long (ns) it is still held.
    #[inline(always)]
    pub fn left(self, now: u64) -> u64 {
        left(self.0, now)
    }
}

/// Frames are not longer in the queue at a time (ns): then they come out, and go in again if they are still
/// to be held. So soon everything has left when that ends.
pub const LONGEST_ROUND: u64 = 250_000_000;

/// Frames that leave within so many nanoseconds (2^14, 16 µs) share a flow of fq, which lets none
/// overtake the one that it saw first: a frame leaves at most this much later than it is due.
const FLOW_BITS: u32 = 14;
/// Flows that fq tells apart. In the time that they span (68 s) every frame has left, so none waits for one
/// that leaves much later.
pub const FLOWS: u32 = 1 << 22;

/// The flow of a frame that leaves at this moment (ns).
#[inline(always)]
pub fn flow_of_departure(moment: u64) -> u32 {
    (moment >> FLOW_BITS) as u32 & (FLOWS - 1)
}

/// In front of a frame on its way into the line.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapHeader {
    /// From the low end: the boot-clock moment (ns) until which the frame is held, as far as [`DUE_BITS`] go; the ledger
    /// slot of the rule that holds it; whether it was on its way into the stack (1), or out of the interface (0).
    held: u64,
    /// [`TapHeader::key`] of the line, and whether it is over the link addresses: what others send into the
    /// device does not have it.
    pub key: u16,
    padding: u16,
    /// The interface that it was at. For [`LOOPBACK`] the header ends before this.
    pub interface: u32,
}

/// What is over the link addresses of a frame from the loopback: a header without its interface.
pub const OVERLAY_BYTES: usize = 12;

impl TapHeader {
    /// Its length.
    pub const BYTES: usize = size_of::<Self>();
    /// In the key: it is over the link addresses, and not in front of them.
    pub const OVERLAY: u16 = 1;

    /// For a frame that is held until this moment (boot clock, ns), at most
    /// [`LONGEST_HOLD`](crate::hold::LONGEST_HOLD) from now on.
    #[inline(always)]
    pub fn new(due: u64, slot: u32, ingress: bool, key: u16, interface: u32) -> Self {
        let slot = (slot & ((1 << SLOT_BITS) - 1)) as u64;
        let held = due & ((1 << DUE_BITS) - 1)
            | slot << DUE_BITS
            | (ingress as u64) << (DUE_BITS + SLOT_BITS);
        Self { held, key, padding: 0, interface }
    }

    /// How long (ns) it is still held. `now` may be up to a second before the frame was sent.
    pub fn left(&self, now: u64) -> u64 {
        const EARLY: u64 = 1_000_000_000;
        let left = self.held.wrapping_sub(now) & ((1 << DUE_BITS) - 1);
        if left > LONGEST_HOLD + EARLY { 0 } else { left.min(LONGEST_HOLD) }
    }

    /// Ledger slot of the rule that holds it.
    pub fn slot(&self) -> u32 {
        (self.held >> DUE_BITS) as u32 & ((1 << SLOT_BITS) - 1)
    }

    /// Whether it was on its way into the stack.
    pub fn ingress(&self) -> bool {
        self.held >> (DUE_BITS + SLOT_BITS) & 1 == 1
    }

    /// The key of the headers of a line with this key.
    #[inline(always)]
    pub fn key(line: u64) -> u16 {
        line as u16 & !Self::OVERLAY
    }

    /// As it stands in front of the frame: both sides are on one machine.
    #[inline(always)]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        // SAFETY: repr(C), integers only, no padding: every byte is initialised.
        unsafe { core::mem::transmute(*self) }
    }

    /// Reads it; `None` for what is no header of the line with this key.
    pub fn from_bytes(bytes: &[u8; Self::BYTES], line: u64) -> Option<Self> {
        // SAFETY: every bit pattern is a valid header.
        let header: Self = unsafe { core::mem::transmute(*bytes) };
        if Self::key(header.key as u64) != Self::key(line) {
            None
        } else if header.is_overlay() {
            Some(Self { interface: LOOPBACK, ..header })
        } else {
            Some(header)
        }
    }

    /// Whether it is over the link addresses of a frame.
    #[inline(always)]
    pub fn is_overlay(&self) -> bool {
        self.key & Self::OVERLAY != 0
    }
}

/// How many [`ReturnTag::place`]s a target has.
pub const PLACES: u32 = 64;

/// Where a place of a target is among those of all.
#[inline(always)]
pub fn place_of(target: u32, place: u32) -> u32 {
    target * PLACES + place
}

/// Where a frame goes that comes back, as it stands in the VLAN tag (16 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReturnTag {
    /// Where the interface stands in the table of interfaces, below [`PLACES`].
    pub place: u32,
    /// Into the stack, or out of the interface.
    pub ingress: bool,
}

impl ReturnTag {
    #[inline(always)]
    pub fn tag(self) -> u16 {
        (self.place << 1) as u16 | self.ingress as u16
    }

    #[inline(always)]
    pub fn of_tag(tag: u16) -> Self {
        Self { place: tag as u32 >> 1 & (PLACES - 1), ingress: tag & 1 != 0 }
    }
}

/// What the agent says of the line to the programs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reader {
    /// How many bytes the reader has read. For the queue of the kernel: how many were given to it that
    /// neither came back nor are there.
    pub taken: u64,
    /// How many bytes may be on their way to the reader, or in the queue, each frame at its
    /// [`cost_to_reader`] or its [`cost`].
    pub room: u64,
    /// Random: what programs mark the frames with that they send to the reader, so that nobody else's
    /// come to it; 0: nothing comes to it.
    pub key: u64,
    /// How far CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC, in nanoseconds: by the time that the machine was
    /// suspended. Only the queue, whose times are those of the latter, needs it.
    pub ahead: u64,
    /// Index of the device, in every network namespace of the target.
    pub device: u32,
    /// 1: frames are held in a queue of the kernel; 0: by a reader.
    pub queue: u32,
}

impl Reader {
    /// Whether it can be trusted to send on what it gets, where the readers of all lines looked for frames last at the
    /// boot-clock moment `beat` (ns). The queue of the kernel needs no reader.
    #[inline(always)]
    pub fn answers(&self, now: u64, beat: u64) -> bool {
        self.device != 0 && (self.queue != 0 || now < beat.saturating_add(LONGEST_SILENCE))
    }

    /// When (CLOCK_MONOTONIC, ns) a frame is due that is held from a boot-clock moment on for so long, now that it
    /// is `now`. By a difference that stays the same for all frames, so that they keep the order of their
    /// moments; reading both clocks takes longer at one time than at another. The machine may have been
    /// suspended since the difference was told: then the frame is due as if its time began now.
    #[inline(always)]
    pub fn due(&self, from: u64, now: u64, nanoseconds: u64) -> u64 {
        let (due, latest) = (from.wrapping_sub(self.ahead) + nanoseconds, now + nanoseconds);
        if due < latest { due } else { latest }
    }

    /// Whether there is room for a frame when so many bytes were given and returned. Frames that the device lost on the way count as read when the reader finds nothing
    /// more.
    #[inline(always)]
    pub fn has_room(&self, given: u64, returned: u64) -> bool {
        // All count up; what was given an instant ago may be read already.
        let inside = given.wrapping_sub(returned).wrapping_sub(self.taken) as i64;
        inside < self.room as i64
    }
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), integers only, no implicit padding, every bit pattern valid.
    unsafe impl aya::Pod for super::Reader {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_leave_no_padding() {
        assert_eq!((TapHeader::BYTES, size_of::<Reader>()), (16, 40));
    }

    #[test]
    fn a_tap_header_survives_bytes_and_nothing_else_is_one() {
        let line = 0x1234_5678_9abc_c4a1;
        let key = TapHeader::key(line);
        let most = (1 << SLOT_BITS) - 1;
        let header = TapHeader::new(1 << 40, most, true, key, 7);
        assert_eq!((header.slot(), header.ingress()), (most, true));
        let header = TapHeader::new(1 << 40, 127, false, key, 7);
        assert_eq!((header.slot(), header.ingress()), (127, false));
        assert_eq!(TapHeader::from_bytes(&header.to_bytes(), line), Some(header));
        let overlay = TapHeader { key: key | TapHeader::OVERLAY, ..header };
        let read = TapHeader { interface: LOOPBACK, ..overlay };
        assert_eq!(TapHeader::from_bytes(&overlay.to_bytes(), line), Some(read));
        assert_eq!(core::mem::offset_of!(TapHeader, interface), OVERLAY_BYTES);
        assert_eq!(TapHeader::from_bytes(&[0xff; 16], line), None);
        assert_eq!(TapHeader::from_bytes(&header.to_bytes(), line + 2), None);
    }

    #[test]
    fn no_two_targets_share_a_place() {
        assert_eq!(place_of(1, 0), place_of(0, PLACES - 1) + 1);
    }

    #[test]
    fn a_way_survives_a_tag() {
        for place in 0..PLACES {
            for ingress in [false, true] {
                let way = ReturnTag { place, ingress };
                assert_eq!(ReturnTag::of_tag(way.tag()), way);
            }
        }
    }

    #[test]
    fn lines_are_known_by_their_index() {
        assert!(is_line(DEVICES) && is_line(DEVICES | 0xf_ffff));
        assert!(!is_line(0) && !is_line(1) && !is_line(DEVICES + 0x10_0000) && !is_line(u32::MAX));
    }

    #[test]
    fn a_reader_that_says_nothing_is_not_trusted() {
        let reader = Reader { device: DEVICES, ..Reader::default() };
        assert!(reader.answers(1_000, 1_000) && reader.answers(999 + LONGEST_SILENCE, 1_000));
        assert!(!reader.answers(1_000 + LONGEST_SILENCE, 1_000));
        assert!(!Reader { device: 0, ..reader }.answers(1_000, 1_000));
        // A queue has none.
        assert!(Reader { queue: 1, ..reader }.answers(LONGEST_SILENCE, 0));
    }

    #[test]
    fn room_is_what_was_not_read() {
        let reader = Reader { taken: u64::MAX - 1, room: 1000, ..Reader::default() };
        assert!(reader.has_room(u64::MAX - 2, 0) && reader.has_room(997, 0));
        assert!(!reader.has_room(998, 0));
        assert!(!Reader { taken: 998, room: 0, ..reader }.has_room(998, 0));
    }

    #[test]
    fn the_device_has_room_for_every_frame_that_is_given_to_it() {
        assert!(DEVICE_BYTES / cost_to_reader(60) < QUEUE as u64 - 900);
        assert_eq!(cost_to_reader(65_000), cost(65_000));
    }

    #[test]
    fn room_in_the_queue_is_what_did_not_return() {
        let reader = Reader { taken: 500, room: 4000, queue: 1, ..Reader::default() };
        assert!(reader.has_room(4000 + 699, 200));
        assert!(!reader.has_room(4000 + 700, 200));
        // More came back than was given: segments of a frame, say.
        assert!(reader.has_room(100, 1_000));
    }

    #[test]
    fn a_ticket_is_valid_for_as_long_as_a_frame_may_be_held() {
        let second = 1_000_000_000;
        for now in [0, 5, 68 * second, 69 * second, 1 << 36, u64::MAX >> 1] {
            for (interface, ingress) in [(1, false), (7, true), ((1 << 22) - 1, false)] {
                let ticket = FqTag::new(now + LONGEST_HOLD, interface, ingress).unwrap();
                assert_eq!((ticket.interface(), ticket.ingress()), (interface, ingress));
                assert_eq!(FqTag::from_words(ticket.to_words()), Some(ticket));
                assert_eq!(ticket.left(now), LONGEST_HOLD);
                assert_eq!(ticket.left(now + LONGEST_HOLD - 1), 1);
                let header = TapHeader::new(now + LONGEST_HOLD, 5, ingress, 0, interface);
                assert_eq!(header.left(now), LONGEST_HOLD);
                // Whoever reads it has looked at the clock before.
                assert_eq!(header.left(now.wrapping_sub(second / 2)), LONGEST_HOLD);
                for late in [0, 1, 7 * second] {
                    assert_eq!(ticket.left(now + LONGEST_HOLD + late), 0);
                    assert_eq!(header.left(now + LONGEST_HOLD + late), 0);
                }
            }
        }
    }

    #[test]
    fn not_everything_is_a_ticket() {
        for words in [[0; 2], [u32::MAX; 2], [7, 0]] {
            assert_eq!(FqTag::from_words(words), None);
        }
        assert_eq!(FqTag::new(5, 1 << 22, true), None);
    }

    #[test]
    fn a_frame_is_due_from_its_moment_on_whatever_the_clock() {
        let reader = Reader { ahead: 1_000, ..Reader::default() };
        // Its moment is 50 ns ago.
        assert_eq!(reader.due(5_000, 4_050, 300), 4_300);
        // After a suspension of 10,000 ns that nobody has told of.
        assert_eq!(reader.due(15_000, 4_050, 300), 4_350);
    }

    #[test]
    fn a_flow_is_a_moment_and_comes_again_when_every_frame_has_left() {
        let moment = 5_000_000_000;
        assert_eq!(flow_of_departure(moment), flow_of_departure(moment + 1));
        assert_ne!(flow_of_departure(moment), flow_of_departure(moment + (1 << FLOW_BITS)));
        assert!(u64::from(FLOWS) << FLOW_BITS > LONGEST_HOLD);
    }
}
