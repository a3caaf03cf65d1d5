//! The two segments that end a connection for both of its ends ([RFC 9293] §3.10.7.1, [RFC 5961] §3).
//!
//! [RFC 9293]: https://www.rfc-editor.org/rfc/rfc9293
//! [RFC 5961]: https://www.rfc-editor.org/rfc/rfc5961

use crate::checksum::{fold, sum};

/// A TCP header without options.
pub const HEADER: usize = 20;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// What a segment is in the protocol number of its packet.
pub const TCP: u8 = 6;

/// The fixed part of a segment's header, as it came along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment(pub [u8; HEADER]);

impl Segment {
    #[inline(always)]
    fn has(&self, flag: u8) -> bool {
        self.0[13] & flag != 0
    }

    #[inline(always)]
    fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    /// Nothing is ever sent in answer to a RST.
    #[inline(always)]
    pub fn is_reset(&self) -> bool {
        self.has(RST)
    }

    /// The first segment of a connection, or the first of its other end.
    #[inline(always)]
    pub fn is_first(&self) -> bool {
        self.has(SYN)
    }

    /// Bytes of the header with its options; `None` for less than a header.
    #[inline(always)]
    pub fn header(&self) -> Option<u32> {
        let bytes = (self.0[12] >> 4) as u32 * 4;
        if bytes < HEADER as u32 { None } else { Some(bytes) }
    }

    /// In place of the segment: from the same end, with the same sequence number, which is the one
    /// that the other end expects (RFC 5961 takes no other), and the same acknowledgement, by which
    /// an end that is connecting knows it. `None` for the first segment of all: whoever it goes to
    /// has no connection yet.
    #[inline(always)]
    pub fn forward(&self) -> Option<Reset> {
        if self.has(SYN) && !self.has(ACK) {
            return None;
        }
        let acknowledged = if self.has(ACK) { self.word(8) } else { 0 };
        let flags = RST | self.0[13] & ACK;
        Some(Reset { ports: self.word(0), sequence: self.word(4), acknowledged, flags })
    }

    /// In answer to the segment, which has so many bytes of payload: with the sequence number that
    /// it acknowledges, or else acknowledging it.
    #[inline(always)]
    pub fn backward(&self, payload: u32) -> Reset {
        let ports = self.word(0).rotate_left(16);
        if self.has(ACK) {
            return Reset { ports, sequence: self.word(8), acknowledged: 0, flags: RST };
        }
        let length = payload + self.has(SYN) as u32 + self.has(FIN) as u32;
        let acknowledged = self.word(4).wrapping_add(length);
        Reset { ports, sequence: 0, acknowledged, flags: RST | ACK }
    }
}

/// What there is to say in a segment that ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// Source << 16 | destination.
    pub ports: u32,
    pub sequence: u32,
    pub acknowledged: u32,
    pub flags: u8,
}

impl Reset {
    /// The segment, without options, window and payload. `before`: what the pseudo header adds
    /// ([`pseudo`](crate::checksum::pseudo)). `partial`: a device is to complete its checksum.
    #[inline(always)]
    pub fn segment(&self, before: u64, partial: bool) -> [u8; HEADER] {
        let [a, b, c, d] = self.ports.to_be_bytes();
        let [e, f, g, h] = self.sequence.to_be_bytes();
        let [i, j, k, l] = self.acknowledged.to_be_bytes();
        let offset = (HEADER as u8 / 4) << 4;
        let mut segment =
            [a, b, c, d, e, f, g, h, i, j, k, l, offset, self.flags, 0, 0, 0, 0, 0, 0];
        let checksum = if partial { fold(before) } else { !fold(before + sum(&segment)) };
        [segment[16], segment[17]] = checksum.to_be_bytes();
        segment
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::pseudo;

    /// Between addresses of zeroes.
    const NOWHERE: u64 = TCP as u64 + HEADER as u64;

    fn segment(flags: u8, sequence: u32, acknowledged: u32) -> Segment {
        let reset = Reset { ports: 40000 << 16 | 6379, sequence, acknowledged, flags };
        let mut bytes = reset.segment(NOWHERE, false);
        bytes[12] = 8 << 4;
        Segment(bytes)
    }

    /// Ports, sequence number, acknowledgement, flags.
    fn told(reset: Reset) -> (u16, u16, u32, u32, u8) {
        let bytes = reset.segment(NOWHERE, false);
        let found = Segment(bytes);
        assert_eq!((found.header(), found.is_reset()), (Some(20), true));
        let ports = found.word(0);
        ((ports >> 16) as u16, ports as u16, found.word(4), found.word(8), bytes[13])
    }

    #[test]
    fn a_connection_that_begins_is_refused() {
        let syn = segment(SYN, 7000, 0);
        assert_eq!(told(syn.backward(0)), (6379, 40000, 0, 7001, RST | ACK));
        assert_eq!(told(syn.backward(100)).3, 7101, "data that comes with it (RFC 7413)");
        assert_eq!(syn.forward(), None);
    }

    #[test]
    fn its_answer_is_refused_at_both_ends() {
        let answer = segment(SYN | ACK, 9000, 7001);
        assert_eq!(told(answer.backward(0)), (6379, 40000, 7001, 0, RST));
        assert_eq!(told(answer.forward().unwrap()), (40000, 6379, 9000, 7001, RST | ACK));
    }

    #[test]
    fn established_ends_are_told_what_each_expects() {
        for flags in [ACK, ACK | 0x08, ACK | FIN] {
            let data = segment(flags, u32::MAX, 5);
            assert_eq!(told(data.backward(1448)), (6379, 40000, 5, 0, RST));
            assert_eq!(told(data.forward().unwrap()), (40000, 6379, u32::MAX, 5, RST | ACK));
        }
        let odd = segment(FIN, u32::MAX, 5);
        assert_eq!(told(odd.backward(0)), (6379, 40000, 0, 0, RST | ACK));
    }

    #[test]
    fn resets_are_known_and_short_headers_too() {
        assert!(segment(RST | ACK, 1, 2).is_reset());
        assert_eq!(
            [SYN, SYN | ACK, ACK].map(|flags| segment(flags, 1, 2).is_first()),
            [true, true, false]
        );
        assert_eq!(segment(ACK, 1, 2).header(), Some(32));
        assert_eq!(Segment([0x40; HEADER]).header(), None);
    }

    #[test]
    fn checksums_are_right_or_left_to_the_device() {
        let mut addresses = [0; 32];
        addresses[..4].copy_from_slice(&[10, 200, 0, 1]);
        addresses[16..20].copy_from_slice(&[10, 200, 0, 2]);
        let reset = segment(SYN, 7000, 0).backward(0);
        let before = pseudo(&addresses, TCP, HEADER as u32);
        let whole = reset.segment(before, false);
        assert_eq!(fold(before + sum(&whole)), 0xffff);
        // What a device does: it sums from the header on, whatever is in the field, and puts the
        // complement there.
        let completed = !fold(sum(&reset.segment(before, true)));
        assert_eq!(completed.to_be_bytes(), whole[16..18]);
    }
}
