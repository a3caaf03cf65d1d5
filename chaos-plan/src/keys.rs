//! Keys of the trie in which paths and names are.

use chaos_ebpf_common::tables::{PATH_BYTES, PathKey, SET_BITS};

/// Bits of the key, the key, and the rules that are found there.
pub(super) type Entry = (u32, PathKey, u64);

/// The entry of a set for whatever begins with these bytes, which are at most [`PATH_BYTES`].
pub(super) fn entry(set: u32, prefix: &[u8], rules: u64) -> Entry {
    let mut path = [0; PATH_BYTES];
    path[..prefix.len()].copy_from_slice(prefix);
    (SET_BITS + 8 * prefix.len() as u32, PathKey { set, path }, rules)
}

/// What the kernel's trie finds for these bytes, whatever is behind them.
#[cfg(test)]
pub(super) fn met(table: &[Entry], bytes: &[u8]) -> u64 {
    let bytes = [bytes, b"\0garbage"].concat();
    let covering = table.iter().filter(|(bits, key, _)| {
        let length = ((bits - SET_BITS) / 8) as usize;
        bytes.starts_with(&key.path[..length])
    });
    covering.max_by_key(|(bits, ..)| *bits).map_or(0, |(.., rules)| *rules)
}
