//! Bounds how many series there are: what comes after the first so many is summed under one fixed value of each label.

use std::{collections::BTreeMap, ops::AddAssign};

use crate::metric::OTHER;

/// Sums by the values of labels.
#[derive(Debug, Clone)]
pub struct Folded<V> {
    most: usize,
    sums: BTreeMap<Vec<String>, V>,
    /// How many additions went to [`OTHER`].
    folded: u64,
}

impl<V: AddAssign + Default> Folded<V> {
    /// With at most so many series, and one more.
    pub fn new(most: usize) -> Self {
        Self { most, sums: BTreeMap::new(), folded: 0 }
    }

    pub fn add(&mut self, labels: Vec<String>, value: V) {
        let is_known = self.sums.contains_key(&labels);
        let labels = if is_known || self.sums.len() < self.most {
            labels
        } else {
            self.folded += 1;
            vec![OTHER.to_owned(); labels.len()]
        };
        *self.sums.entry(labels).or_default() += value;
    }

    pub fn folded(&self) -> u64 {
        self.folded
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Vec<String>, &V)> {
        self.sums.iter()
    }

    /// The same without what is summed under [`OTHER`].
    pub fn unfolded(&self) -> impl Iterator<Item = (&Vec<String>, &V)> {
        self.iter().filter(|(labels, _)| labels.iter().all(|label| label != OTHER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_bound_is_summed() {
        let mut sums = Folded::new(2);
        for name in ["a", "b", "c", "d", "a", "c"] {
            sums.add(vec![name.to_owned(), "x".to_owned()], 1_u64);
        }
        let sums_by_name: Vec<(&str, u64)> =
            sums.iter().map(|(labels, sum)| (labels[0].as_str(), *sum)).collect();
        assert_eq!(sums_by_name, [(OTHER, 3), ("a", 2), ("b", 1)]);
        assert_eq!(sums.folded(), 3);
    }
}
