//! `in container NAME`: which faults belong to which part of the target.

use std::collections::BTreeMap;

use chaos_fault::Fault;

/// What the target of a plan is, as far as `in container` is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// A cgroup, unit, process or child: it has no containers to choose from.
    Whole,
    /// A pod with all of its containers.
    Pod,
    /// One container of a pod, by its name in the pod's spec.
    Container(String),
}

/// The faults of one container (or of the whole target), with their places in the full list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Share {
    /// For each of `faults` its index in the list that was split.
    pub indices: Vec<usize>,
    pub faults: Vec<Fault>,
}

impl Share {
    /// Those that are so, and the others.
    pub fn split(self, is_so: impl Fn(&Fault) -> bool) -> (Self, Self) {
        let (mut those, mut others) = (Self::default(), Self::default());
        for (index, fault) in self.indices.into_iter().zip(self.faults) {
            let share = if is_so(&fault) { &mut those } else { &mut others };
            share.indices.push(index);
            share.faults.push(fault);
        }
        (those, others)
    }
}

/// Splits faults by their `in container` clause; `None` holds those without one. Each share is
/// planned with a [`Scope`] of its own, and [`super::Plan::renumbered`] gives its plan the
/// indices of the full list back.
pub fn by_container(faults: &[Fault]) -> BTreeMap<Option<String>, Share> {
    let mut shares: BTreeMap<Option<String>, Share> = BTreeMap::new();
    for (index, fault) in faults.iter().enumerate() {
        let share = shares.entry(fault.container.clone()).or_default();
        share.indices.push(index);
        share.faults.push(fault.clone());
    }
    shares
}

#[cfg(test)]
mod tests {
    use chaos_fault::Verb;

    use super::*;

    #[test]
    fn faults_are_split_in_order() {
        let whole = Fault::new(Verb::Drop);
        let db = Fault { container: Some("db".into()), ..whole.clone() };
        let shares = by_container(&[db.clone(), whole, db]);
        assert_eq!(shares[&None].indices, [1]);
        assert_eq!(shares[&Some("db".into())].indices, [0, 2]);
        assert_eq!(shares.len(), 2);
        let (those, others) = shares[&None].clone().split(|fault| fault.container.is_some());
        assert_eq!((those, others), (Share::default(), shares[&None].clone()));
    }
}
