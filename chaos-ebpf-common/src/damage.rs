//! Chooses the bit of a payload that is flipped.

use crate::hash;

/// Which bit of a payload of `length` bytes the entropy of a hit chooses: the byte, and the number of
/// the bit in it. Every bit of a payload is chosen equally often.
///
/// A hit hands on [`ENTROPY_BITS`](crate::gate::ENTROPY_BITS) bits only, fewer than a segment before
/// its segmentation has, and decides more by them than this. So the place is taken from a number of 64
/// bits that is made from them, by its upper half: multiplied by the length and shifted, which divides
/// the range evenly where a remainder would not.
#[inline(always)]
pub fn bit(entropy: u64, length: u32) -> (u32, u32) {
    let number = hash::mix(entropy);
    let byte = ((number >> 32) * length as u64) >> 32;
    (byte as u32, number as u32 & 7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gate::ENTROPY_BITS;

    /// Hits that differ in what they hand on.
    const HITS: u64 = 1 << ENTROPY_BITS;

    proptest! {
        #[test]
        fn it_is_within_the_payload(entropy: u64, length in 1..=u32::from(u16::MAX)) {
            let (byte, bit) = bit(entropy, length);
            prop_assert!(byte < length && bit < 8, "{byte} {bit}");
        }

        #[test]
        fn no_part_of_a_payload_is_left_out(
            first in 0..HITS,
            length in prop_oneof![1..2_000_u32, 1..=u32::from(u16::MAX)],
        ) {
            const TRIALS: u64 = 4_096;
            const PARTS: usize = 32;
            let mut hits = [0_u32; PARTS];
            let mut bits = [0_u32; 8];
            // Spread over all that a hit can hand on, by a number that is odd.
            for trial in 0..TRIALS {
                let entropy = (first + trial * 0x9e_3779) % HITS;
                let (byte, bit) = bit(entropy, length);
                hits[byte as usize * PARTS / length as usize] += 1;
                bits[bit as usize] += 1;
            }
            // Of 128 and 512; with 11 and 21 for a standard deviation.
            if (length as usize).is_multiple_of(PARTS) || length as usize > 64 * PARTS {
                prop_assert!(hits.iter().all(|hits| (50..=206).contains(hits)), "{hits:?}");
            }
            prop_assert!(hits[0] > 0 && hits[(length as usize - 1) * PARTS / length as usize] > 0);
            prop_assert!(bits.iter().all(|hits| (360..=664).contains(hits)), "{bits:?}");
        }
    }
}
