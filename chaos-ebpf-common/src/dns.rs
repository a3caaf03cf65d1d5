//! Questions and answers of the DNS ([RFC 1035] §4, [RFC 6891]).
//!
//! [RFC 1035]: https://www.rfc-editor.org/rfc/rfc1035
//! [RFC 6891]: https://www.rfc-editor.org/rfc/rfc6891

use crate::{
    event::{Family, ProtocolClass, widen},
    packet::{Bytes, Packet},
};

/// The port of a name server.
pub const PORT: u16 = 53;

/// Docker's embedded name server, in a container on a network of its own. NAT rules of the container's
/// network namespace send what is for its port 53 on to another one, and they come before any hook that
/// sees packets leave.
/// <https://github.com/moby/moby/blob/v27.0.0/libnetwork/resolver_unix.go>
pub const EMBEDDED_SERVER: [u8; 4] = [127, 0, 0, 11];

/// Bytes of a message's header.
pub const HEADER: u32 = 12;

/// Type and class behind the name of a question.
const KIND: u32 = 4;

/// Bytes of an OPT record without options.
pub const OPT: u32 = 11;

/// Labels of a name.
pub const LABELS: u32 = 127;

/// Bytes of a name but for the 0 at its end.
const LONGEST: u32 = 254;

/// What the key of a name begins with in the trie that paths are in, too: no path does.
pub const NAME: u8 = 0xff;

/// Whether it is the header of one question: an ordinary query, and no answer in it.
#[inline(always)]
pub fn is_question(header: &[u8; HEADER as usize]) -> bool {
    // QR and the operation code, and the counts of questions, answers and authorities.
    header[2] & 0xf8 == 0
        && u16::from_be_bytes([header[4], header[5]]) == 1
        && u32::from_be_bytes([header[6], header[7], header[8], header[9]]) == 0
}

/// Whether it is a question to [`EMBEDDED_SERVER`], sent on to another port than [`PORT`].
#[inline(always)]
pub fn is_sent_on<O: Bytes>(bytes: &O, packet: &Packet) -> bool {
    /// Bytes of a UDP header.
    const UDP_HEADER: u32 = 8;
    let event = &packet.event;
    event.protocol == ProtocolClass::Udp
        && event.family == Family::V4
        && event.destination == widen(EMBEDDED_SERVER)
        && event.destination_port != PORT
        && packet.fragmented == 0
        && packet.transport != 0
        && bytes.read(packet.transport + UDP_HEADER).is_some_and(|header| is_question(&header))
}

/// Has rules see a question that is sent on at the port at which it was asked.
#[inline(always)]
pub fn undo_nat<O: Bytes>(bytes: &O, packet: &mut Packet) {
    if is_sent_on(bytes, packet) {
        packet.event.destination_port = PORT;
    }
}

/// Bytes of the name that begins here, but for the 0 at its end. `None` for one that is cut off, or
/// refers to another place, which nothing in a question does.
#[inline(always)]
pub fn name<O: Bytes>(bytes: &O, at: u32) -> Option<u32> {
    let mut length = 0;
    for _ in 0..LABELS + 1 {
        let [label] = bytes.read::<1>(at + length)?;
        if label == 0 {
            return Some(length);
        }
        length += label as u32 + 1;
        if label > 63 || length > LONGEST {
            return None;
        }
    }
    None
}

/// How much of a message with this header and a name of this length its answer keeps: the question,
/// and the OPT record if one is right behind it. The second number is 1 if so.
#[inline(always)]
pub fn kept<O: Bytes>(bytes: &O, at: u32, header: &[u8; 12], name: u32) -> (u32, u8) {
    let question = HEADER + name + 1 + KIND;
    let has_more = u16::from_be_bytes([header[10], header[11]]) != 0;
    match bytes.read::<{ OPT as usize }>(at + question) {
        // The root's name and the type; class and time to live have meanings of their own.
        Some([0, 0, 41, ..]) if has_more => (question + OPT, 1),
        _ => (question, 0),
    }
}

/// The header of the answer: with the question's identity, operation and wishes, from a server that
/// would recurse, nothing but the code and, if there was one, the OPT record.
#[inline(always)]
pub fn answer(header: &[u8; 12], code: u8, opt: u8) -> [u8; 12] {
    // RD of the question; RA and CD.
    let (first, second) = (0x80 | header[2] & 0x01, 0x80 | header[3] & 0x10 | code);
    [header[0], header[1], first, second, 0, 1, 0, 0, 0, 0, 0, opt]
}

/// Eight bytes with A to Z as a to z. Lengths of labels are below `A`, and what begins a key is above
/// `Z`.
#[inline(always)]
pub fn lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let seven = word & (ONES * 0x7f);
    // Bit 7 of each byte that is at least A, and of each that is above Z.
    let (at_least, above) = (seven + ONES * (0x80 - 0x41), seven + ONES * (0x80 - 0x5b));
    let capital = at_least & !above & !word & (ONES * 0x80);
    word | capital >> 2
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::{
        event::EventKind,
        packet::{ETHERTYPE_IPV4, parse},
    };

    struct Message(Vec<u8>);

    impl Bytes for Message {
        fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
            let start = offset as usize;
            self.0.get(start..start + N)?.try_into().ok()
        }
    }

    fn message(flags: [u8; 2], counts: [u8; 4], rest: &[u8]) -> Message {
        let mut bytes = std::vec![0xab, 0xcd, flags[0], flags[1]];
        counts.iter().for_each(|count| bytes.extend([0, *count]));
        bytes.extend(rest);
        Message(bytes)
    }

    fn header(message: &Message) -> [u8; 12] {
        message.read(0).unwrap()
    }

    const QUESTION: &[u8] = b"\x02db\x07example\x03com\0\0\x01\0\x01";
    const OPT_WITH_COOKIE: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8, 1, 2];

    #[test]
    fn only_questions_are_asked_about() {
        for (flags, counts, is) in [
            ([1, 0], [1, 0, 0, 0], true),
            ([1, 0x20], [1, 0, 0, 1], true),
            ([0x81, 0], [1, 0, 0, 0], false),
            ([0x28, 0], [1, 0, 0, 0], false),
            ([1, 0], [2, 0, 0, 0], false),
            ([1, 0], [1, 1, 0, 0], false),
            ([1, 0], [1, 0, 1, 0], false),
        ] {
            assert_eq!(
                is_question(&header(&message(flags, counts, &[]))),
                is,
                "{flags:?} {counts:?}"
            );
        }
    }

    #[test]
    fn questions_that_nat_sends_on_are_seen_at_their_port() {
        let datagram = |to: [u8; 4], port: u16, message: &Message| {
            let mut bytes = std::vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1];
            bytes.extend(to);
            bytes.extend([0x80, 0]);
            bytes.extend(port.to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(&message.0);
            Message(bytes)
        };
        let question = message([1, 0], [1, 0, 0, 0], QUESTION);
        let answer = message([0x81, 0], [1, 0, 0, 0], QUESTION);
        for (frame, seen) in [
            (datagram(EMBEDDED_SERVER, 43217, &question), 53),
            (datagram(EMBEDDED_SERVER, 53, &question), 53),
            (datagram(EMBEDDED_SERVER, 43217, &answer), 43217),
            (datagram([127, 0, 0, 53], 43217, &question), 43217),
        ] {
            let mut packet = parse(&frame, ETHERTYPE_IPV4, EventKind::FrameEgress).unwrap();
            undo_nat(&frame, &mut packet);
            assert_eq!(packet.event.destination_port, seen);
        }
    }

    #[test]
    fn letters_alone_have_a_lower_case() {
        for byte in 0..=255u8 {
            let expected = byte.to_ascii_lowercase();
            for place in 0..8 {
                let mut bytes = *b"\x03Zz@[\xffA`";
                bytes[place] = byte;
                let mut lowered = *b"\x03zz@[\xffa`";
                lowered[place] = expected;
                let found = lower(u64::from_le_bytes(bytes));
                assert_eq!(found.to_le_bytes(), lowered, "{byte} at {place}");
            }
        }
    }

    #[test]
    fn names_end_or_are_none() {
        let length = |bytes: &[u8]| name(&Message(bytes.to_vec()), 0);
        assert_eq!(length(QUESTION), Some(15));
        assert_eq!(length(b"\0"), Some(0), "the root");
        assert_eq!(length(b"\x03com"), None, "cut off");
        assert_eq!(length(b"\x03com\xc0\x0c"), None, "a reference");
        let labels = |count: usize| [b"\x01a".repeat(count), std::vec![0]].concat();
        assert_eq!(length(&labels(127)), Some(254));
        assert_eq!(length(&labels(128)), None);
        assert_eq!(length(&[[63; 64].repeat(4), std::vec![0]].concat()), None);
    }

    #[test]
    fn an_answer_keeps_the_question_and_the_opt_record() {
        let plain = message([1, 0], [1, 0, 0, 0], QUESTION);
        let end = 12 + QUESTION.len() as u32;
        assert_eq!(kept(&plain, 0, &header(&plain), 15), (end, 0));
        let all = [QUESTION, OPT_WITH_COOKIE].concat();
        let with = message([1, 0x10], [1, 0, 0, 1], &all);
        assert_eq!(kept(&with, 0, &header(&with), 15), (end + 11, 1));
        let padded = message([1, 0], [1, 0, 0, 0], &all);
        assert_eq!(kept(&padded, 0, &header(&padded), 15), (end, 0), "not counted, so not there");
        let found = answer(&header(&with), 3, 1);
        assert_eq!(found, [0xab, 0xcd, 0x81, 0x93, 0, 1, 0, 0, 0, 0, 0, 1]);
        let inquiry = message([0, 0], [1, 0, 0, 0], QUESTION);
        assert_eq!(answer(&header(&inquiry), 2, 0)[2..4], [0x80, 0x82], "nobody asked to recurse");
    }
}
