//! One injection as told through the ring buffer, for `chaos-agent follow`.
//!
//! The ring is a sample: when it is full, records are lost and the ledger is not.

use crate::{
    event::{Address, Event},
    gate::Verdict,
};

/// What was done to which event.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Boot clock, nanoseconds.
    pub at: u64,
    pub source: Address,
    pub destination: Address,
    pub slot: u32,
    pub source_port: u16,
    pub destination_port: u16,
    /// [`crate::event::EventKind`] as a number.
    pub kind: u8,
    /// [`crate::event::ProtocolClass`] as a number.
    pub protocol: u8,
    /// [`crate::event::Family`] as a number.
    pub family: u8,
    /// 1: a shadow rule, nothing was done.
    pub shadow: u8,
    /// The errno given to the caller, 0 for packets.
    pub errno: u16,
    /// [`crate::event::Event::call`].
    pub call: u16,
}

/// Bytes of the ring of one target.
pub const RING_BYTES: usize = 64 * 1024;

impl Record {
    /// What a verdict has done to an event, or, by a shadow rule, would have done.
    #[inline(always)]
    pub fn new(event: &Event, verdict: &Verdict, shadow: bool) -> Self {
        Self {
            at: verdict.at,
            source: event.source,
            destination: event.destination,
            slot: verdict.slot,
            source_port: event.source_port,
            destination_port: event.destination_port,
            kind: event.kind as u8,
            protocol: event.protocol as u8,
            family: event.family as u8,
            shadow: shadow as u8,
            errno: verdict.errno as u16,
            call: event.call,
        }
    }

    /// Reads a record as it came out of the ring; `None` when it has another size.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: the length is right, every bit pattern is a valid Record, and
        // read_unaligned asks for no alignment.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_no_padding_and_survives_bytes() {
        assert_eq!(size_of::<Record>(), 8 + 16 + 16 + 4 + 2 + 2 + 4 + 2 + 2);
        assert_eq!(Record::from_bytes(&[0; 55]), None);
        assert_eq!(Record::from_bytes(&[0; 56]).map(|record| record.at), Some(0));
    }
}
