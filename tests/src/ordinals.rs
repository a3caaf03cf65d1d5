//! Which of a numbered run of events something happened to.

use serde::{Deserialize, Serialize};

/// A set of small numbers, one bit each: sequence numbers that arrived, attempts that failed.
/// Two equal sets from two runs mean that the same decisions were made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ordinals {
    words: Vec<u64>,
}

impl Ordinals {
    /// Adds `ordinal` and tells whether it was new.
    pub fn insert(&mut self, ordinal: u64) -> bool {
        let (word, bit) = position(ordinal);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        new
    }

    pub fn contains(&self, ordinal: u64) -> bool {
        let (word, bit) = position(ordinal);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    pub fn len(&self) -> u64 {
        self.words.iter().map(|bits| u64::from(bits.count_ones())).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|bits| *bits == 0)
    }

    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.words.iter().zip((0u64..).step_by(64)).flat_map(|(bits, base)| {
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| base + bit)
        })
    }

    /// The numbers below `total` that are not in the set.
    pub fn missing(&self, total: u64) -> Self {
        (0..total).filter(|ordinal| !self.contains(*ordinal)).collect()
    }
}

impl FromIterator<u64> for Ordinals {
    fn from_iter<I: IntoIterator<Item = u64>>(ordinals: I) -> Self {
        let mut set = Self::default();
        for ordinal in ordinals {
            set.insert(ordinal);
        }
        set
    }
}

/// Sets with the same members are equal, however many empty words follow the last member.
impl PartialEq for Ordinals {
    fn eq(&self, other: &Self) -> bool {
        let longest = self.words.len().max(other.words.len());
        (0..longest).all(|word| {
            self.words.get(word).copied().unwrap_or(0)
                == other.words.get(word).copied().unwrap_or(0)
        })
    }
}

impl Eq for Ordinals {}

fn position(ordinal: u64) -> (usize, u64) {
    let word = usize::try_from(ordinal / 64).expect("an ordinal is a count of events in a test");
    (word, 1 << (ordinal % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_set(members in prop::collection::vec(0u64..500, 0..200), total in 0u64..600) {
            let model: BTreeSet<u64> = members.iter().copied().collect();
            let set: Ordinals = members.into_iter().collect();
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert_eq!(set.is_empty(), model.is_empty());
            prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), model.clone());
            let missing: BTreeSet<u64> = (0..total).filter(|n| !model.contains(n)).collect();
            prop_assert_eq!(set.missing(total).iter().collect::<BTreeSet<_>>(), missing);
        }
    }

    #[test]
    fn insert_tells_news_from_repeats() {
        let mut set = Ordinals::default();
        assert!(set.insert(64));
        assert!(!set.insert(64));
        assert!(set.insert(63));
    }

    #[test]
    fn trailing_empty_words_do_not_matter() {
        let long = Ordinals { words: vec![1, 0, 0] };
        assert_eq!(long, Ordinals { words: vec![1] });
        assert_ne!(long, Ordinals { words: vec![1, 1] });
    }
}
