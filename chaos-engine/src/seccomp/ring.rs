//! The latest injections, for `follow`: a sample, as the ring of the BPF maps is.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering},
};

use chaos_ebpf_common::record::Record;

const ENTRIES: usize = 1024;
const WORDS: usize = size_of::<Record>().div_ceil(8);

/// Written by any number of threads, read by one; the oldest are overwritten.
#[repr(C)]
pub struct Ring {
    /// How many were ever written or begun.
    head: AtomicU64,
    entries: [Entry; ENTRIES],
}

#[repr(C)]
struct Entry {
    /// Twice the position of what it holds plus 2, or plus 1 while that is being written.
    version: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Ring {
    pub fn push(&self, record: &Record) {
        let position = self.head.fetch_add(1, Ordering::SeqCst);
        let Some(entry) = self.entry(position) else { return };
        entry.version.store(2 * position + 1, Ordering::SeqCst);
        for (word, value) in entry.words.iter().zip(words(record)) {
            word.store(value, Ordering::SeqCst);
        }
        entry.version.store(2 * position + 2, Ordering::SeqCst);
    }

    /// What was written from `position` on, which moves on; what has been overwritten is lost.
    pub fn drain(&self, position: &mut u64) -> Vec<Record> {
        let head = self.head.load(Ordering::SeqCst);
        let first = (*position).max(head.saturating_sub(ENTRIES as u64));
        let mut records = Vec::new();
        *position = first;
        for at in first..head {
            match self.entry(at).map(|entry| entry.read(at)) {
                // Its writer is not done: next time.
                Some(Err(Unfinished)) if head - at < ENTRIES as u64 / 2 => break,
                Some(Ok(record)) => records.extend(record),
                _ => {}
            }
            *position = at + 1;
        }
        records
    }

    fn entry(&self, position: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(position % ENTRIES as u64).ok()?)
    }
}

struct Unfinished;

impl Entry {
    /// `None` when it has been overwritten.
    fn read(&self, position: u64) -> Result<Option<Record>, Unfinished> {
        let complete = 2 * position + 2;
        let before = self.version.load(Ordering::SeqCst);
        if before < complete {
            return Err(Unfinished);
        }
        let words: [u64; WORDS] = array::from_fn(|index| self.words[index].load(Ordering::SeqCst));
        let after = self.version.load(Ordering::SeqCst);
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
        Ok(Record::from_bytes(&bytes[..size_of::<Record>()])
            .filter(|_| before == complete && after == complete))
    }
}

fn words(record: &Record) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    // SAFETY: both are plain memory, and the words are at least as long as the record, which has
    // no padding.
    unsafe { words.as_mut_ptr().cast::<Record>().write_unaligned(*record) };
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Box<Ring> {
        // SAFETY: zeroed atomics are valid; allocated in place, as it is large for a stack.
        unsafe { Box::<Ring>::new_zeroed().assume_init() }
    }

    fn record(at: u64) -> Record {
        let bytes = [0; size_of::<Record>()];
        Record { at, ..Record::from_bytes(&bytes).unwrap() }
    }

    #[test]
    fn what_is_pushed_comes_out_once_and_in_order() {
        let ring = ring();
        let mut position = 0;
        (0..10).for_each(|at| ring.push(&record(at)));
        let ats: Vec<u64> = ring.drain(&mut position).iter().map(|record| record.at).collect();
        assert_eq!(ats, (0..10).collect::<Vec<_>>());
        assert!(ring.drain(&mut position).is_empty());
    }

    #[test]
    fn the_oldest_are_lost() {
        let ring = ring();
        let mut position = 0;
        (0..3000).for_each(|at| ring.push(&record(at)));
        let ats: Vec<u64> = ring.drain(&mut position).iter().map(|record| record.at).collect();
        assert_eq!(ats, (3000 - ENTRIES as u64..3000).collect::<Vec<_>>());
    }
}
