//! Gives out numbers of places in maps, and takes back those that programs may still look at.

use std::collections::BTreeMap;

/// Ranges of numbers. What comes back rests until it is [woken](Pool::wake).
#[derive(Debug)]
pub(super) struct Pool {
    /// By their beginnings, the lengths of the free ranges. No two touch each other.
    free: BTreeMap<u32, u32>,
    resting: Vec<Range>,
    size: u32,
}

/// Some numbers that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub first: u32,
    pub length: u32,
}

impl Range {
    /// Of nothing.
    pub(super) const NONE: Self = Self { first: 0, length: 0 };

    /// One number.
    pub(super) fn one(number: u32) -> Self {
        Self { first: number, length: 1 }
    }
}

impl Pool {
    /// Of so many numbers, from `first` on.
    pub(super) fn new(first: u32, size: u32) -> Self {
        let free = if size == 0 { BTreeMap::new() } else { BTreeMap::from([(first, size)]) };
        Self { free, resting: Vec::new(), size }
    }

    /// How many numbers there are.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// How many are taken, or rest.
    pub(super) fn taken(&self) -> u32 {
        self.size - self.free.values().sum::<u32>()
    }

    /// The first range of this length that is free; `None` where there is none.
    pub(super) fn take(&mut self, length: u32) -> Option<Range> {
        if length == 0 {
            return Some(Range::NONE);
        }
        let (&first, &free) = self.free.iter().find(|(_, free)| **free >= length)?;
        self.free.remove(&first);
        if free > length {
            self.free.insert(first + length, free - length);
        }
        Some(Range { first, length })
    }

    /// Takes a range back at which no program looks.
    pub(super) fn give_back(&mut self, Range { first, length }: Range) {
        if length == 0 {
            return;
        }
        let (mut first, mut length) = (first, length);
        if let Some((&before, &its)) = self.free.range(..first).next_back()
            && before + its == first
        {
            self.free.remove(&before);
            (first, length) = (before, its + length);
        }
        if let Some(behind) = self.free.remove(&(first + length)) {
            length += behind;
        }
        self.free.insert(first, length);
    }

    /// Takes a range back at which programs may still look.
    pub(super) fn rest(&mut self, range: Range) {
        if range.length > 0 {
            self.resting.push(range);
        }
    }

    /// Whether there are such.
    pub(super) fn is_resting(&self) -> bool {
        !self.resting.is_empty()
    }

    /// Gives them out again, as no program looks at them any more.
    pub(super) fn wake(&mut self) -> Vec<Range> {
        let woken = std::mem::take(&mut self.resting);
        woken.iter().for_each(|range| self.give_back(*range));
        woken
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn what_rests_is_not_given_out() {
        let mut pool = Pool::new(1, 2);
        assert_eq!(pool.take(1), Some(Range::one(1)));
        assert_eq!(pool.take(2), None);
        assert_eq!(pool.take(1), Some(Range::one(2)));
        pool.rest(Range::one(1));
        assert!(pool.is_resting());
        assert_eq!(pool.take(1), None);
        assert_eq!(pool.wake(), [Range::one(1)]);
        assert_eq!((pool.is_resting(), pool.take(1)), (false, Some(Range::one(1))));
        assert_eq!(Pool::new(1, 0).take(1), None);
    }

    proptest! {
        /// Nobody has what another has, and in the end all is one range again.
        #[test]
        fn ranges_never_overlap_and_all_come_back(
            steps in vec((0..5_u32, any::<prop::sample::Index>(), any::<bool>()), 1..200),
        ) {
            const SIZE: u32 = 40;
            let mut pool = Pool::new(3, SIZE);
            let mut taken: Vec<Range> = Vec::new();
            for (length, which, rests) in steps {
                if length > 0 {
                    taken.extend(pool.take(length));
                } else if !taken.is_empty() {
                    let range = taken.swap_remove(which.index(taken.len()));
                    if rests { pool.rest(range) } else { pool.give_back(range) }
                } else {
                    pool.wake();
                }
                let mut all: Vec<u32> =
                    taken.iter().flat_map(|range| range.first..range.first + range.length).collect();
                prop_assert!(all.iter().all(|number| (3..3 + SIZE).contains(number)));
                let count = all.len();
                all.sort_unstable();
                all.dedup();
                prop_assert_eq!(all.len(), count);
            }
            taken.into_iter().for_each(|range| pool.rest(range));
            pool.wake();
            prop_assert_eq!(pool.take(SIZE), Some(Range { first: 3, length: SIZE }));
        }
    }
}
