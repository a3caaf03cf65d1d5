//! Which ledger slot a rule counts in.

use std::collections::{BTreeSet, HashMap, VecDeque};

use chaos_fault::Fault;

/// A rule's place among the states and counters of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub number: u32,
    /// Its state and counters have to be zeroed before the rule is put in force.
    pub fresh: bool,
}

/// There are more faults than slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{faults} faults need a ledger slot each, and the target has {capacity}")]
pub struct OutOfSlots {
    pub faults: usize,
    pub capacity: u32,
}

/// A slot below `capacity` for each of `faults`, in their order.
///
/// A fault that is the same as one of `previous` keeps its slot, and with it its counts, ordinals
/// and budgets; of several that are the same, the first keeps the first one's. Others get a slot
/// that nothing had, and only when there is none left one of a fault that is gone: the rule set
/// still in force counts there until it is replaced.
pub fn assign<'a>(
    previous: &[(Fault, u32)],
    faults: impl IntoIterator<Item = &'a Fault>,
    capacity: u32,
) -> Result<Vec<Slot>, OutOfSlots> {
    let mut earlier: HashMap<&Fault, VecDeque<u32>> = HashMap::new();
    for (fault, slot) in previous {
        earlier.entry(fault).or_default().push_back(*slot);
    }
    let kept: Vec<Option<u32>> = faults
        .into_iter()
        .map(|fault| earlier.get_mut(fault).and_then(VecDeque::pop_front))
        .collect();
    let had: BTreeSet<u32> = previous.iter().map(|(_, slot)| *slot).collect();
    let gone: BTreeSet<u32> = earlier.into_values().flatten().collect();
    let mut free = (0..capacity)
        .filter(|slot| !had.contains(slot))
        .chain(gone.into_iter().filter(|slot| *slot < capacity));
    kept.iter()
        .map(|kept| match kept {
            Some(number) => Some(Slot { number: *number, fresh: false }),
            None => free.next().map(|number| Slot { number, fresh: true }),
        })
        .collect::<Option<Vec<Slot>>>()
        .ok_or(OutOfSlots { faults: kept.len(), capacity })
}

#[cfg(test)]
mod tests {
    use chaos_fault::{Direction, Verb};

    use super::*;

    fn three() -> [Fault; 3] {
        let plain = Fault::new(Verb::Drop);
        let egress = Fault { direction: Some(Direction::Egress), ..plain.clone() };
        let seeded = Fault { seed: Some(1), ..plain.clone() };
        [plain, egress, seeded]
    }

    fn numbers(slots: &[Slot]) -> Vec<(u32, bool)> {
        slots.iter().map(|slot| (slot.number, slot.fresh)).collect()
    }

    #[test]
    fn an_edit_keeps_the_slots_of_what_stayed() {
        let [a, b, c] = three();
        let first = assign(&[], [&a, &b], 4).unwrap();
        assert_eq!(numbers(&first), [(0, true), (1, true)]);
        let previous = [(a.clone(), 0), (b.clone(), 1)];
        let second = assign(&previous, [&c, &b, &a], 4).unwrap();
        assert_eq!(numbers(&second), [(2, true), (1, false), (0, false)]);
    }

    #[test]
    fn a_slot_still_counted_in_is_taken_last() {
        let [a, b, c] = three();
        let previous = [(a, 0), (b.clone(), 1)];
        assert_eq!(numbers(&assign(&previous, [&c], 4).unwrap()), [(2, true)]);
        assert_eq!(numbers(&assign(&previous, [&c, &b], 2).unwrap()), [(0, true), (1, false)]);
    }

    #[test]
    fn the_same_fault_twice_has_two_slots_in_order() {
        let [a, b, _] = three();
        let previous = [(a.clone(), 7), (a.clone(), 3)];
        let slots = assign(&previous, [&a, &b, &a, &a], 64).unwrap();
        assert_eq!(numbers(&slots), [(7, false), (0, true), (3, false), (1, true)]);
    }

    #[test]
    fn too_few_slots_are_an_error() {
        let [a, b, c] = three();
        let error = assign(&[], [&a, &b, &c], 2).unwrap_err();
        assert_eq!(error, OutOfSlots { faults: 3, capacity: 2 });
    }
}
