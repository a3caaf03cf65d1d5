//! Frames as they come out of the device, and as they go back.

use std::ops::Range;

use chaos_ebpf_common::line::{ReturnTag, TapHeader, cost_to_reader};

/// A `virtio_net_hdr` (legacy, in the machine's byte order), and where it has what changes.
const VNET_HEADER: usize = 10;
const FLAGS: usize = 0;
const NEEDS_CHECKSUM: u8 = 1;
const LINEAR_LENGTH: Range<usize> = 2..4;
const CHECKSUM_START: Range<usize> = 6..8;

/// Two Ethernet addresses.
const ADDRESSES: usize = 12;
/// EtherType (802.1Q) and number.
const TAG: usize = 4;
const TAGGED: [u8; 2] = [0x81, 0x00];
/// Where the number is, in what goes back.
const NUMBER: Range<usize> = VNET_HEADER + ADDRESSES + 2..VNET_HEADER + ADDRESSES + TAG;

/// Longest frame with what is in front of it: segments of 64 KiB, and some room for tags.
pub(super) const LONGEST: usize = VNET_HEADER + TapHeader::BYTES + 65_536 + 64;

/// What a frame that came out of the device, behind this header, took on its way.
pub(super) fn cost_to_read(read: &[u8], header: &TapHeader) -> u64 {
    let before = VNET_HEADER + if header.is_overlay() { 0 } else { TapHeader::BYTES };
    cost_to_reader(read.len().saturating_sub(before) as u32)
}

/// The header of a frame that came out of the device of the line with this key. `None` for one without:
/// somebody else sent it there.
pub(super) fn header(read: &[u8], key: u64) -> Option<TapHeader> {
    TapHeader::from_bytes(read.get(VNET_HEADER..)?.first_chunk()?, key)
}

/// Takes this header off a frame that came out of the device and makes it ready to go back, but for its
/// [`ReturnTag`]. `None` for one that has nothing behind it.
pub(super) fn take_header(read: &[u8], header: &TapHeader) -> Option<Box<[u8]>> {
    let is_overlay = header.is_overlay();
    let addresses = if is_overlay { VNET_HEADER } else { VNET_HEADER + TapHeader::BYTES };
    let rest = read.get(addresses + ADDRESSES..).filter(|rest| rest.len() >= 2)?;
    let mut frame = Vec::with_capacity(VNET_HEADER + ADDRESSES + TAG + rest.len());
    frame.extend(&read[..VNET_HEADER]);
    if is_overlay {
        frame.extend([0; ADDRESSES]);
    } else {
        frame.extend(&read[addresses..addresses + ADDRESSES]);
    }
    frame.extend(TAGGED);
    frame.extend([0, 0]);
    frame.extend(rest);
    // The header goes and the tag comes.
    let longer = TAG as i16 - if is_overlay { 0 } else { TapHeader::BYTES as i16 };
    move_by(&mut frame, LINEAR_LENGTH, longer);
    if frame[FLAGS] & NEEDS_CHECKSUM != 0 {
        move_by(&mut frame, CHECKSUM_START, longer);
    }
    Some(frame.into())
}

/// Says where a frame goes.
pub(super) fn set_return_tag(frame: &mut [u8], tag: ReturnTag) {
    frame[NUMBER].copy_from_slice(&tag.tag().to_be_bytes());
}

fn move_by(frame: &mut [u8], field: Range<usize>, longer: i16) {
    let bytes = &mut frame[field];
    let value = u16::from_ne_bytes([bytes[0], bytes[1]]);
    bytes.copy_from_slice(&value.saturating_add_signed(longer).to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u64 = 0xc4a0;
    fn tap_header(key: u16) -> TapHeader {
        TapHeader::new(123, 5, true, key, 2)
    }

    fn taken(read: &[u8]) -> Option<(TapHeader, Box<[u8]>)> {
        let header = header(read, KEY)?;
        Some((header, take_header(read, &header)?))
    }

    /// A frame of 60 bytes that count up, behind its header.
    fn read(flags: u8, header: &TapHeader) -> Vec<u8> {
        let linear = 16 + 54u16;
        let start = 16 + 34u16;
        let mut read = vec![flags, 0];
        for field in [linear, 1448, start, 16] {
            read.extend(field.to_ne_bytes());
        }
        read.extend(header.to_bytes());
        read.extend(0..60);
        read
    }

    #[test]
    fn a_label_goes_and_a_tag_comes() {
        let read = read(NEEDS_CHECKSUM, &tap_header(0xc4a0));
        let (header, mut frame) = taken(&read).unwrap();
        assert_eq!(
            (header, cost_to_read(&read, &header)),
            (tap_header(0xc4a0), cost_to_reader(60))
        );
        set_return_tag(&mut frame, ReturnTag { place: 3, ingress: true });
        let field = |at: usize| u16::from_ne_bytes([frame[at], frame[at + 1]]);
        // Four bytes more than without either.
        assert_eq!([2, 4, 6, 8].map(field), [58, 1448, 38, 16]);
        let expected: Vec<u8> = (0..12).chain([0x81, 0, 0, 7]).chain(12..60).collect();
        assert_eq!(frame[10..], expected);
    }

    #[test]
    fn a_label_over_the_addresses_leaves_none() {
        let mut read = read(NEEDS_CHECKSUM, &tap_header(0xc4a0));
        read.drain(VNET_HEADER..VNET_HEADER + TapHeader::BYTES);
        let overlay = tap_header(0xc4a1).to_bytes();
        read[VNET_HEADER..VNET_HEADER + ADDRESSES].copy_from_slice(&overlay[..ADDRESSES]);
        let (header, mut frame) = taken(&read).unwrap();
        assert_eq!(cost_to_read(&read, &header), cost_to_reader(60));
        assert_eq!((header.left(100), header.interface, header.ingress()), (23, 1, true));
        set_return_tag(&mut frame, ReturnTag { place: 3, ingress: true });
        let field = |at: usize| u16::from_ne_bytes([frame[at], frame[at + 1]]);
        // Four bytes more than what was read.
        assert_eq!([2, 6].map(field), [74, 54]);
        let expected: Vec<u8> = [0; 12].into_iter().chain([0x81, 0, 0, 7]).chain(12..60).collect();
        assert_eq!(frame[10..], expected);
    }

    #[test]
    fn a_checksum_that_is_there_has_no_beginning() {
        let mut read = read(0, &tap_header(0xc4a0));
        read[6..8].fill(0);
        let (_, frame) = taken(&read).unwrap();
        assert_eq!(frame[6..8], [0, 0]);
    }

    #[test]
    fn what_others_send_has_no_label() {
        assert!(taken(&read(0, &tap_header(0))).is_none());
        for length in 0..10 + 16 + 14 {
            assert!(taken(&read(0, &tap_header(0xc4a0))[..length]).is_none(), "{length}");
        }
        assert!(taken(&read(0, &tap_header(0xc4a0))[..40]).is_some());
    }
}
