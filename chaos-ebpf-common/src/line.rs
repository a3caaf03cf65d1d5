//! The delay line: a TAP device into which programs send the frames that are to be held, and whose
//! reader sends them on when they are due. What both sides agree on.
//!
//! A frame goes into the line with a [`Label`] in front of its link header, or, from the loopback, over
//! its link addresses, which say nothing there. It comes back without, but with a VLAN tag, which the kernel takes off before it asks the program at the device; the
//! tag says where the frame was going ([`Way`]).

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
/// Frames on their way to the reader from which on there is no more room; programs on other
/// processors may be about to add theirs.
pub const ROOM: u64 = QUEUE as u64 - 1_000;

/// In front of a frame on its way into the line.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// The boot-clock moment (ns) until which the frame is held.
    pub due: u64,
    /// [`Label::MAGIC`]: what others send into the device has none.
    pub magic: u16,
    /// Ledger slot of the rule that holds it.
    pub slot: u8,
    /// 1: it was on its way into the stack; 0: out of the interface.
    pub ingress: u8,
    /// The interface that it was at. For [`LOOPBACK`] the label ends before this.
    pub interface: u32,
}

/// Index of the loopback in every network namespace (`LOOPBACK_IFINDEX`).
pub const LOOPBACK: u32 = 1;

/// What is over the link addresses of a frame from the loopback: a label without its interface.
pub const OVERLAY_BYTES: usize = 12;

impl Label {
    /// Its length.
    pub const BYTES: usize = size_of::<Self>();
    /// Says that it is one, in front of a frame.
    pub const MAGIC: u16 = 0xc4a0;
    /// The same, over link addresses.
    pub const OVERLAY: u16 = 0xc4a1;

    /// As it stands in front of the frame: both sides are on one machine.
    #[inline(always)]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        // SAFETY: repr(C), integers only, no padding: every byte is initialised.
        unsafe { core::mem::transmute(*self) }
    }

    /// Reads it; `None` for what is no label.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        // SAFETY: every bit pattern is a valid label.
        let label: Self = unsafe { core::mem::transmute(*bytes) };
        match label.magic {
            Self::MAGIC => Some(label),
            Self::OVERLAY => Some(Self { interface: LOOPBACK, ..label }),
            _ => None,
        }
    }
}

/// How many [`Way::place`]s there are.
pub const PLACES: u32 = 1024;

/// Where a frame goes that comes back, as it stands in the VLAN tag (16 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Where the interface stands in the table of interfaces, below [`PLACES`].
    pub place: u32,
    /// Into the stack, or out of the interface.
    pub ingress: bool,
}

impl Way {
    #[inline(always)]
    pub fn tag(self) -> u16 {
        (self.place << 1) as u16 | self.ingress as u16
    }

    #[inline(always)]
    pub fn of_tag(tag: u16) -> Self {
        Self { place: tag as u32 >> 1 & (PLACES - 1), ingress: tag & 1 != 0 }
    }
}

/// What the reader says to the programs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reader {
    /// The boot-clock moment (ns) at which it last looked for frames; 0: it does not.
    pub beat: u64,
    /// How many frames it has read.
    pub taken: u64,
    /// Index of the device, in every network namespace of the target.
    pub device: u32,
    pub padding: u32,
}

impl Reader {
    /// Whether it can be trusted to send on what it gets.
    #[inline(always)]
    pub fn answers(&self, now: u64) -> bool {
        self.device != 0 && now < self.beat.saturating_add(LONGEST_SILENCE)
    }

    /// Whether there is room for a frame when so many were given. Frames that the device lost on the
    /// way count as read when the reader finds nothing more.
    #[inline(always)]
    pub fn has_room(&self, given: u64) -> bool {
        // Both count up; what was given an instant ago may be read already.
        given.wrapping_sub(self.taken) as i64 <= ROOM as i64
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
        assert_eq!((Label::BYTES, size_of::<Reader>()), (16, 24));
    }

    #[test]
    fn a_label_survives_bytes_and_nothing_else_is_one() {
        let label =
            Label { due: 1 << 40, magic: Label::MAGIC, slot: 127, ingress: 1, interface: 7 };
        assert_eq!(Label::from_bytes(&label.to_bytes()), Some(label));
        let overlay = Label { magic: Label::OVERLAY, ..label };
        let read = Label { interface: LOOPBACK, ..overlay };
        assert_eq!(Label::from_bytes(&overlay.to_bytes()), Some(read));
        assert_eq!(core::mem::offset_of!(Label, interface), OVERLAY_BYTES);
        assert_eq!(Label::from_bytes(&[0xff; 16]), None);
    }

    #[test]
    fn a_way_survives_a_tag() {
        for place in 0..PLACES {
            for ingress in [false, true] {
                let way = Way { place, ingress };
                assert_eq!(Way::of_tag(way.tag()), way);
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
        let reader = Reader { beat: 1_000, device: DEVICES, ..Reader::default() };
        assert!(reader.answers(1_000) && reader.answers(999 + LONGEST_SILENCE));
        assert!(!reader.answers(1_000 + LONGEST_SILENCE));
        assert!(!Reader { device: 0, ..reader }.answers(1_000));
    }

    #[test]
    fn room_is_what_was_not_read() {
        let reader = Reader { taken: u64::MAX - 1, ..Reader::default() };
        assert!(reader.has_room(u64::MAX - 2) && reader.has_room(ROOM - 2));
        assert!(!reader.has_room(ROOM - 1));
    }
}
