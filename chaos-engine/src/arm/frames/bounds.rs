//! How many network namespaces and interfaces of a target are served, and which.

use std::time::{Duration, Instant};

/// Network namespaces of a target. A process without any rights can make thousands.
pub(super) const MOST_NAMESPACES: usize = 64;

/// Interfaces in the outermost namespaces of a target together: those of a node, which has some for
/// each of its pods.
const MOST_INTERFACES: usize = 256;

/// Interfaces in the namespaces that the target has made for itself, together.
const MOST_INNER_INTERFACES: usize = 64;

/// Programs that are attached in the outermost namespaces of a target together, whatever the turn, so that
/// an ordinary target is served when it is armed, however slow the machine is.
pub(super) const FIRST: usize = 16;

/// How many programs a namespace gets whatever the turn, where so many are attached in the other outermost
/// ones: at least one, so that each turn brings it on.
pub(super) fn at_once(is_inner: bool, attached: usize) -> usize {
    if is_inner { 1 } else { FIRST.saturating_sub(attached).max(1) }
}

/// How long a namespace is served in which no process of the target is any more: commands may come
/// and go in one that something else keeps.
const LINGER: Duration = Duration::from_secs(5);

/// Whether a namespace is given up in which a process of the target was seen at this moment for the last
/// time. It counts when the look began, as a look may take longer than [`LINGER`]. `oldest` is of those
/// beyond the bound.
pub(super) fn is_left(seen: Instant, look_began: Instant, oldest: Option<Instant>) -> bool {
    look_began.saturating_duration_since(seen) >= LINGER
        || oldest.is_some_and(|oldest| seen <= oldest)
}

/// How many interfaces are served in all namespaces of this kind together.
pub(super) fn most_interfaces(is_inner: bool) -> usize {
    if is_inner { MOST_INNER_INTERFACES } else { MOST_INTERFACES }
}

/// Which of these interfaces are served where there is room for so many: those that are already, and then
/// those that were there first. `indices` is in ascending order.
pub(super) fn choose(indices: &[u32], is_served: impl Fn(u32) -> bool, room: usize) -> Vec<u32> {
    let (mut chosen, new): (Vec<u32>, Vec<u32>) =
        indices.iter().partition(|index| is_served(**index));
    chosen.truncate(room);
    let room = room - chosen.len();
    chosen.extend(new.into_iter().take(room));
    chosen
}

/// What people should know of namespaces and interfaces, each in this order: of those beyond the bounds,
/// and of those whose turn has not come yet.
pub(super) fn notes(left_out: (usize, usize), pending: (usize, usize)) -> Vec<String> {
    let ((namespaces, interfaces), (unvisited, pending)) = (left_out, pending);
    let mut notes = Vec::new();
    if namespaces > 0 {
        notes.push(format!(
            "faults at interfaces do not act in {namespaces} of the target's network namespaces: \
             {MOST_NAMESPACES} are served, the outermost first"
        ));
    }
    if interfaces > 0 {
        notes.push(format!(
            "faults at interfaces do not act at {interfaces} of the target's interfaces: \
             {MOST_INTERFACES} are served, and {MOST_INNER_INTERFACES} in network namespaces that it \
             has made for itself"
        ));
    }
    if unvisited > 0 {
        notes.push(format!(
            "faults at interfaces do not act yet in {unvisited} of the target's network namespaces: \
             programs are attached in one after the other"
        ));
    }
    if pending > 0 {
        notes.push(format!(
            "faults at interfaces do not act yet at {pending} of the target's interfaces: programs \
             are attached to one after the other"
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_stays_so_and_the_first_come_next() {
        let served = |index| index == 30 || index == 20;
        assert_eq!(choose(&[1, 10, 20, 30], served, 4), [20, 30, 1, 10]);
        assert_eq!(choose(&[1, 10, 20, 30], served, 3), [20, 30, 1]);
        assert_eq!(choose(&[1, 10, 20, 30], served, 1), [20]);
        assert!(choose(&[1, 10], served, 0).is_empty());
    }

    #[test]
    fn what_a_long_look_has_seen_is_not_given_up() {
        let began = Instant::now() + Duration::from_secs(100);
        assert!(!is_left(began, began, None));
        assert!(!is_left(began + 3 * LINGER, began, None));
        assert!(!is_left(began - LINGER / 2, began, None));
        assert!(is_left(began - LINGER, began, None));
        assert!(is_left(began, began, Some(began)));
    }

    #[test]
    fn the_first_programs_are_those_of_all_outermost_namespaces_together() {
        assert_eq!([0, 1, 15, 16, 100].map(|attached| at_once(false, attached)), [16, 15, 1, 1, 1]);
        assert_eq!(at_once(true, 0), 1);
    }

    #[test]
    fn nothing_is_noted_where_all_is_served() {
        assert!(notes((0, 0), (0, 0)).is_empty());
        assert_eq!(notes((1, 2), (3, 4)).len(), 4);
    }
}
