//! The internet checksum ([RFC 1071]).
//!
//! [RFC 1071]: https://www.rfc-editor.org/rfc/rfc1071

use crate::packet::Bytes;

/// The ones' complement sum of the bytes as big-endian 16-bit words, not yet folded.
#[inline(always)]
pub fn sum<const N: usize>(bytes: &[u8; N]) -> u64 {
    let mut sum = 0;
    let (words, rest) = bytes.as_chunks::<2>();
    for word in words {
        sum += u16::from_be_bytes(*word) as u64;
    }
    if let [last] = rest {
        sum += (*last as u64) << 8;
    }
    sum
}

/// Bytes that [`sum_of`] goes through at most: a message of the DNS with a question and no answer.
const LONGEST: u32 = 320;

/// [`sum`] of what is at this place of a packet.
#[inline(always)]
pub fn sum_of<O: Bytes>(bytes: &O, at: u32, length: u32) -> u64 {
    let mut sum = 0;
    let mut done = 0;
    for _ in 0..LONGEST / 4 {
        if done + 4 > length {
            break;
        }
        sum += self::sum(&bytes.read::<4>(at + done).unwrap_or([0; 4]));
        done += 4;
    }
    for shift in [8, 0, 8] {
        if done < length {
            let [byte] = bytes.read::<1>(at + done).unwrap_or([0]);
            sum += (byte as u64) << shift;
            done += 1;
        }
    }
    sum
}

/// A sum of less than 2^32 in 16 bits, which is what goes before a checksum that a device completes.
#[inline(always)]
pub fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// What the pseudo header adds ([RFC 9293] §3.1, [RFC 8200] §8.1): addresses, protocol and length of
/// the transport header with what is behind it. An IPv4 address is followed by zeroes.
///
/// [RFC 9293]: https://www.rfc-editor.org/rfc/rfc9293
/// [RFC 8200]: https://www.rfc-editor.org/rfc/rfc8200
#[inline(always)]
pub fn pseudo(addresses: &[u8; 32], protocol: u8, length: u32) -> u64 {
    sum(addresses) + protocol as u64 + (length & 0xffff) as u64 + (length >> 16) as u64
}

/// A checksum after one word under it has changed ([RFC 1624]).
///
/// [RFC 1624]: https://www.rfc-editor.org/rfc/rfc1624
#[inline(always)]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), 0xddf2);
        assert_eq!(sum(&[1, 2, 3]), 0x0102 + 0x0300, "the last byte is the first of a word");
    }

    #[test]
    fn the_pseudo_header_as_it_would_lie_in_memory() {
        let mut addresses = [0u8; 32];
        for (number, byte) in (0u8..).zip(&mut addresses) {
            *byte = number * 7;
        }
        let rest = [0, 1, 0x23, 0x45, 0, 0, 0, 6];
        assert_eq!(fold(pseudo(&addresses, 6, 0x12345)), fold(sum(&addresses) + sum(&rest)));
    }

    struct Slice<'b>(&'b [u8]);

    impl Bytes for Slice<'_> {
        fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
            self.0.get(offset as usize..offset as usize + N)?.try_into().ok()
        }
    }

    proptest! {
        #[test]
        fn a_place_is_summed_as_bytes_are(bytes in any::<[u8; 99]>(), length in 0..=99u32) {
            let mut rest = [0; 99];
            rest[..length as usize].copy_from_slice(&bytes[..length as usize]);
            prop_assert_eq!(sum_of(&Slice(&bytes), 0, length), sum(&rest));
        }

        #[test]
        fn an_update_is_the_sum_anew(mut header in any::<[u8; 20]>(), length in any::<u16>()) {
            header[10..12].fill(0);
            let old = u16::from_be_bytes([header[2], header[3]]);
            let before = !fold(sum(&header));
            header[2..4].copy_from_slice(&length.to_be_bytes());
            let (updated, anew) = (update(before, old, length), !fold(sum(&header)));
            // 0 and 0xffff are the same number in ones' complement.
            prop_assert!(updated == anew || updated.wrapping_add(1) < 2 && anew.wrapping_add(1) < 2);
        }
    }
}
