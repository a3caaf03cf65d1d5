//! Frames in the order in which they are due.

use std::{cmp::Reverse, collections::BinaryHeap};

/// A frame that is held.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The boot-clock moment (ns) until which.
    pub due: u64,
    /// Number of the device that it came from.
    pub tap: u32,
    /// The interface that it was at.
    pub interface: u32,
    pub ingress: bool,
    /// Ledger slot of the rule that holds it.
    pub slot: u32,
    pub frame: Box<[u8]>,
}

/// Those that are due at the same moment leave in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    came: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Entry {
    came: u64,
    held: Held,
}

impl Entry {
    fn order(&self) -> (u64, u64) {
        (self.held.due, self.came)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl Queue {
    pub(super) fn push(&mut self, held: Held) {
        self.bytes += cost(&held.frame);
        self.heap.push(Reverse(Entry { came: self.came, held }));
        self.came += 1;
    }

    /// The next frame that is due by this moment.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<Held> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(Entry { held, .. }) = self.heap.pop()?;
        self.bytes -= cost(&held.frame);
        Some(held)
    }

    /// When the next frame is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.held.due)
    }

    /// What the frames take in memory, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What a held frame takes in memory, in bytes: its entry in a heap that may be half empty, and what the
/// allocator keeps about it.
pub(super) fn cost(frame: &[u8]) -> u64 {
    (frame.len() + 2 * size_of::<Entry>() + 64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn held(due: u64, number: u8) -> Held {
        Held { due, tap: 0, interface: 2, ingress: false, slot: 0, frame: [number].into() }
    }

    fn drained(queue: &mut Queue, now: u64) -> Vec<u8> {
        std::iter::from_fn(|| queue.pop_due(now)).map(|held| held.frame[0]).collect()
    }

    #[test]
    fn frames_leave_when_they_are_due() {
        let mut queue = Queue::default();
        for (due, number) in [(30, 3), (10, 1), (20, 2)] {
            queue.push(held(due, number));
        }
        assert_eq!(queue.next_due(), Some(10));
        assert!(drained(&mut queue, 9).is_empty());
        assert_eq!(drained(&mut queue, 20), [1, 2]);
        assert_eq!(queue.next_due(), Some(30));
        assert_eq!(drained(&mut queue, u64::MAX), [3]);
        assert_eq!((queue.next_due(), queue.bytes()), (None, 0));
    }

    proptest! {
        #[test]
        fn it_sorts_and_keeps_the_order_of_equals(dues in prop::collection::vec(0..5u64, 0..100)) {
            let mut queue = Queue::default();
            let numbered = dues.into_iter().zip(0u8..);
            let mut expected: Vec<(u64, u8)> = numbered.collect();
            for (due, number) in &expected {
                queue.push(held(*due, *number));
            }
            // A stable sort.
            expected.sort_by_key(|(due, _)| *due);
            let numbers: Vec<u8> = expected.into_iter().map(|(_, number)| number).collect();
            prop_assert_eq!(drained(&mut queue, u64::MAX), numbers);
            prop_assert_eq!(queue.bytes(), 0);
        }
    }
}
