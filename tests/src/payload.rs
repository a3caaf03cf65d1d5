//! Datagrams and streams whose every byte is known in advance.
//!
//! A payload is a function of its flow and sequence number, which it carries twice, so that the
//! receiver still knows which datagram it holds when a fault changed one of the copies.

/// The least size of a payload: both copies of its identity and eight bytes of pattern.
pub const MIN_SIZE: usize = 2 * IDENTITY_SIZE + 8;

/// How many bytes of a stream share one sequence number.
pub const STREAM_BLOCK: usize = 1024;

const IDENTITY_SIZE: usize = 12;

/// Which payload this is: the n-th of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub flow: u32,
    pub sequence: u64,
}

/// What a receiver finds out about a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// `None` where so much was changed that neither copy of the identity can be believed.
    pub identity: Option<Identity>,
    /// How many bytes differ from what was sent.
    pub wrong_bytes: usize,
}

/// Writes the whole payload of `identity`.
///
/// # Panics
/// If `payload` is shorter than [`MIN_SIZE`].
pub fn fill(payload: &mut [u8], identity: Identity) {
    assert!(payload.len() >= MIN_SIZE, "a payload has at least {MIN_SIZE} bytes");
    let (copies, pattern) = payload.split_at_mut(2 * IDENTITY_SIZE);
    for copy in copies.as_chunks_mut::<IDENTITY_SIZE>().0 {
        copy[..4].copy_from_slice(&identity.flow.to_le_bytes());
        copy[4..].copy_from_slice(&identity.sequence.to_le_bytes());
    }
    let seed = mix(identity.sequence ^ mix(u64::from(identity.flow)));
    for (word, position) in pattern.chunks_mut(8).zip(0u64..) {
        let bytes = mix(seed.wrapping_add(position)).to_le_bytes();
        word.copy_from_slice(&bytes[..word.len()]);
    }
}

/// Compares a received payload with what its identity says it was, using `scratch` for that.
pub fn inspect(payload: &[u8], scratch: &mut Vec<u8>) -> Inspection {
    if payload.len() < MIN_SIZE {
        return Inspection { identity: None, wrong_bytes: payload.len() };
    }
    scratch.resize(payload.len(), 0);
    let mut best = Inspection { identity: None, wrong_bytes: payload.len() };
    for copy in payload[..2 * IDENTITY_SIZE].as_chunks::<IDENTITY_SIZE>().0 {
        let identity = read_identity(copy);
        fill(scratch, identity);
        let wrong_bytes = count_differences(payload, scratch);
        // A wrong identity gives another pattern, in which hardly any byte agrees.
        if wrong_bytes < best.wrong_bytes && wrong_bytes < payload.len() / 2 {
            best = Inspection { identity: Some(identity), wrong_bytes };
        }
        if wrong_bytes == 0 {
            break;
        }
    }
    best
}

/// How many bytes of two equally long slices differ.
pub fn count_differences(a: &[u8], b: &[u8]) -> usize {
    if a == b { 0 } else { a.iter().zip(b).filter(|(a, b)| a != b).count() }
}

fn read_identity(copy: &[u8]) -> Identity {
    let (flow, sequence) = copy.split_at(4);
    Identity {
        flow: u32::from_le_bytes(flow.try_into().expect("four bytes")),
        sequence: u64::from_le_bytes(sequence.try_into().expect("eight bytes")),
    }
}

/// SplitMix64's output function (Steele, Lea, Flood: *Fast splittable pseudorandom number
/// generators*, 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_untouched_payload_is_right(flow: u32, sequence: u64, size in MIN_SIZE..300) {
            let identity = Identity { flow, sequence };
            let mut payload = vec![0; size];
            fill(&mut payload, identity);
            let seen = inspect(&payload, &mut Vec::new());
            prop_assert_eq!(seen, Inspection { identity: Some(identity), wrong_bytes: 0 });
        }

        #[test]
        fn one_changed_byte_is_seen_wherever_it_is(
            flow: u32, sequence: u64, size in MIN_SIZE..300, at: prop::sample::Index, flip in 1u8..
        ) {
            let identity = Identity { flow, sequence };
            let mut payload = vec![0; size];
            fill(&mut payload, identity);
            payload[at.index(size)] ^= flip;
            let seen = inspect(&payload, &mut Vec::new());
            prop_assert_eq!(seen, Inspection { identity: Some(identity), wrong_bytes: 1 });
        }
    }

    #[test]
    fn noise_has_no_identity() {
        let noise: Vec<u8> = (0..64u8).map(|n| n.wrapping_mul(37)).collect();
        assert_eq!(inspect(&noise, &mut Vec::new()).identity, None);
        assert_eq!(inspect(&noise[..8], &mut Vec::new()).wrong_bytes, 8);
    }
}
