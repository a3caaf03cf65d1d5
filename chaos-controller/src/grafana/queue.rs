//! Keeps what Grafana is still to be told, one annotation for each run, in the order of their beginnings.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::annotation::Annotation;

/// Annotations that wait at a time.
const MOST: usize = 64;

/// So often an annotation is tried: with the pauses between, for some minutes.
const TRIES: u32 = 10;

/// IDs that are kept. One that is not is found by the tags.
const MOST_IDS: usize = 1024;

/// What waits. The first stays until it is told, so that what follows of its run takes its place.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Of annotations that will be changed, by the UIDs of their runs.
    ids: BTreeMap<String, u64>,
    dropped: u64,
}

#[derive(Debug)]
struct Waiting {
    uid: String,
    annotation: Annotation,
    failures: u32,
}

/// What is told next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// Of the run.
    pub uid: String,
    pub annotation: Annotation,
    /// Of the annotation, where Grafana is known to have it.
    pub id: Option<u64>,
}

impl Queue {
    /// Puts something at the end, or in the place of what waits of the same run. The oldest is dropped where there is no
    /// room.
    pub fn push(&self, uid: &str, annotation: Annotation) {
        let mut state = self.state();
        match state.waiting.iter_mut().find(|one| one.uid == uid) {
            Some(one) => one.annotation = annotation,
            None => {
                let uid = uid.to_owned();
                state.waiting.push_back(Waiting { uid, annotation, failures: 0 });
            }
        }
        if state.waiting.len() > MOST {
            state.waiting.pop_front();
            state.dropped += 1;
        }
        self.arrived.notify_one();
    }

    pub fn has_room(&self) -> bool {
        self.waiting() < MOST
    }

    fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// Waits until there is something to be told.
    pub async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.state().next() {
                return next;
            }
            self.arrived.notified().await;
        }
    }

    /// Notes that Grafana has been told, and has the annotation under this ID.
    pub fn done(&self, told: &Next, id: u64) {
        let mut state = self.state();
        if let Some(index) = state.index(told) {
            state.waiting.remove(index);
        }
        if told.annotation.end.is_some() {
            state.ids.remove(&told.uid);
            return;
        }
        state.ids.insert(told.uid.clone(), id);
        if state.ids.len() > MOST_IDS {
            state.ids.pop_first();
        }
    }

    /// Notes that Grafana could not be told. It is dropped after so many times, or where `is_final` says so.
    pub fn failed(&self, next: &Next, is_final: bool) {
        let mut state = self.state();
        // It may be there or not, or be there under another.
        state.ids.remove(&next.uid);
        let Some(index) = state.index(next) else { return };
        let one = &mut state.waiting[index];
        one.failures += 1;
        if is_final || one.failures >= TRIES {
            state.waiting.remove(index);
            state.dropped += 1;
        }
    }

    /// How many annotations were dropped that Grafana should have had.
    pub fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// Forgets everything: another controller tells.
    pub fn clear(&self) {
        *self.state() = State::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&self) -> Option<Next> {
        let Waiting { uid, annotation, .. } = self.waiting.front()?;
        let id = self.ids.get(uid).copied();
        Some(Next { uid: uid.clone(), annotation: annotation.clone(), id })
    }

    /// Where something waits, unless it was replaced meanwhile.
    fn index(&self, next: &Next) -> Option<usize> {
        let is_it = |one: &Waiting| one.uid == next.uid && one.annotation == next.annotation;
        self.waiting.iter().position(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::run, *};

    fn begun(uid: &str) -> Annotation {
        Annotation::of(&run(uid, None)).unwrap()
    }

    fn ended(uid: &str) -> Annotation {
        Annotation::of(&run(uid, Some("2026-11-28T10:05:00Z"))).unwrap()
    }

    #[tokio::test]
    async fn what_follows_of_a_run_takes_its_place() {
        let queue = Queue::default();
        queue.push("a", begun("a"));
        queue.push("b", begun("b"));
        let first = queue.next().await;
        assert_eq!((first.uid.as_str(), first.id), ("a", None));
        // It ends while it is told of.
        queue.push("a", ended("a"));
        queue.done(&first, 7);
        let next = queue.next().await;
        assert_eq!((next.uid.as_str(), next.id, &next.annotation), ("a", Some(7), &ended("a")));
        queue.done(&next, 7);
        let next = queue.next().await;
        assert_eq!((next.uid.as_str(), next.id), ("b", None));
        queue.done(&next, 8);
        assert_eq!(queue.waiting(), 0);
        assert_eq!(queue.state().ids, BTreeMap::from([("b".to_owned(), 8)]));
    }

    #[tokio::test]
    async fn the_oldest_is_dropped_where_there_is_no_room() {
        let queue = Queue::default();
        (0..MOST + 2).for_each(|number| queue.push(&number.to_string(), begun("x")));
        assert_eq!((queue.dropped(), queue.has_room()), (2, false));
        assert_eq!(queue.next().await.uid, "2");
        queue.clear();
        assert!(queue.has_room());
    }

    #[tokio::test]
    async fn what_fails_is_tried_again_so_often() {
        let queue = Queue::default();
        queue.push("a", begun("a"));
        queue.done(&queue.next().await, 7);
        queue.push("a", ended("a"));
        let known = queue.next().await;
        assert_eq!(known.id, Some(7));
        for _ in 1..TRIES {
            queue.failed(&known, false);
        }
        let again = queue.next().await;
        assert_eq!((again.annotation, again.id, queue.dropped()), (ended("a"), None, 0));
        queue.failed(&known, false);
        assert_eq!((queue.waiting(), queue.dropped()), (0, 1));
        // It is not there any more.
        queue.failed(&known, true);
        queue.push("b", begun("b"));
        queue.failed(&queue.next().await, true);
        assert_eq!((queue.waiting(), queue.dropped()), (0, 2));
    }
}
