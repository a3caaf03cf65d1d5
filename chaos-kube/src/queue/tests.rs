use proptest::{collection::vec, prelude::*};

use super::*;
use crate::status::{FaultStatus, PodPhase};

const SECOND: Duration = Duration::from_secs(1);

fn name(pod: &str) -> PodName {
    PodName { namespace: "shop".into(), name: pod.into() }
}

/// A status whose counts are `matched`.
fn status(phase: PodPhase, matched: u64) -> Status {
    let mut fault = FaultStatus::new("drop egress".into());
    fault.counts.matched = matched;
    Status::new(phase, Some("1".into()), vec![fault], vec![])
}

fn event(note: &str) -> Event {
    Event {
        type_: kube::runtime::events::EventType::Normal,
        reason: "FaultsArmed".into(),
        note: Some(note.into()),
        action: "Arm".into(),
        secondary: None,
    }
}

fn answer(pod: &str, status: Status, event: Option<Event>) -> Answer {
    let reference = ObjectReference { uid: Some(pod.into()), ..ObjectReference::default() };
    Answer { pod: name(pod), reference, status, event }
}

/// Writes what is due, each with the outcome that the server has for it, until nothing is; returns
/// what was written to whom.
fn drain(
    queue: &mut Queue,
    now: Instant,
    server: impl Fn(&Write) -> Outcome,
) -> (Vec<(String, &'static str)>, Vec<Remark>) {
    let (mut sent, mut remarks) = (Vec::new(), Vec::new());
    while let Some(write) = queue.start(now) {
        let what = match write.content {
            Content::Status { form: Form::Whole, .. } => "whole",
            Content::Status { form: Form::Short, .. } => "short",
            Content::Event(_) => "event",
        };
        sent.push((write.pod.name.clone(), what));
        let outcome = server(&write);
        remarks.extend(queue.settle(write, outcome, now));
    }
    (sent, remarks)
}

fn refuse_statuses_of<'a>(pod: &'a str) -> impl Fn(&Write) -> Outcome + 'a {
    move |write| match write.content {
        Content::Status { .. } if write.pod.name == pod => Outcome::Refused,
        Content::Status { .. } | Content::Event(_) => Outcome::Written,
    }
}

fn all_written(_: &Write) -> Outcome {
    Outcome::Written
}

#[test]
fn a_status_is_shortened_once_then_given_up_and_told_once_until_there_is_something_to_say() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.take(answer("a", status(PodPhase::Armed, 0), Some(event("armed"))), now);
    queue.take(answer("b", status(PodPhase::Armed, 0), None), now);
    let (sent, remarks) = drain(&mut queue, now, refuse_statuses_of("a"));
    let expected = [("a", "whole"), ("a", "event"), ("b", "whole"), ("a", "short")];
    assert_eq!(sent, expected.map(|(pod, what)| (pod.to_owned(), what)));
    assert_eq!(remarks, [Remark::Shortening, Remark::GivenUp]);

    // Other counts are nothing new: for minutes nothing is sent.
    for second in 1..REST.as_secs() {
        let now = now + SECOND * u32::try_from(second).unwrap();
        queue.take(answer("a", status(PodPhase::Armed, second), None), now);
        assert_eq!(drain(&mut queue, now, all_written).0, []);
    }
    // Then it is tried again, and nothing more is logged.
    let later = now + REST;
    assert_eq!(queue.wakes_at(later - SECOND), Some(later));
    let (sent, remarks) = drain(&mut queue, later, refuse_statuses_of("a"));
    assert_eq!((sent.len(), remarks), (2, vec![]));

    // Another phase is something new.
    queue.take(answer("a", status(PodPhase::Ended, 9), None), later);
    let soon = later + FIRST_PAUSE;
    let (sent, remarks) = drain(&mut queue, soon, refuse_statuses_of("a"));
    assert_eq!((sent.len(), remarks), (2, vec![Remark::Shortening, Remark::GivenUp]));

    // As soon as the server takes it, all is as ever.
    assert_eq!(drain(&mut queue, soon + REST, all_written).0, [("a".to_owned(), "whole")]);
    queue.take(answer("a", status(PodPhase::Ended, 10), None), soon + REST);
    assert_eq!(drain(&mut queue, soon + REST, all_written).0.len(), 1);
    assert_eq!(queue.outdated(), 0);
}

#[test]
fn phase_and_clocks_are_written_where_the_whole_is_refused() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let too_long = |write: &Write| match write.content {
        Content::Status { form: Form::Whole, .. } => Outcome::Refused,
        Content::Status { form: Form::Short, .. } | Content::Event(_) => Outcome::Written,
    };
    queue.take(answer("a", status(PodPhase::Armed, 0), None), now);
    let (sent, remarks) = drain(&mut queue, now, too_long);
    assert_eq!(sent.len(), 2);
    assert_eq!((remarks, queue.outdated()), (vec![Remark::Shortening], 0));
    // A new phase is written soon, in short, and only its first failure is told.
    queue.take(answer("a", status(PodPhase::Ended, 1), None), now + SECOND);
    let (sent, _) = drain(&mut queue, now + FIRST_PAUSE + SECOND, too_long);
    assert_eq!(sent.last(), Some(&("a".to_owned(), "short")));
    assert_eq!(queue.outdated(), 0);
}

#[test]
fn an_event_that_is_refused_is_dropped_and_blocks_no_status() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let terminating = |write: &Write| match write.content {
        Content::Status { .. } => Outcome::Written,
        Content::Event(_) => Outcome::Refused,
    };
    for phase in [PodPhase::Armed, PodPhase::Ended, PodPhase::Armed] {
        queue.take(answer("a", status(phase, 0), Some(event("what"))), now);
    }
    let (sent, remarks) = drain(&mut queue, now, terminating);
    assert_eq!(sent.iter().filter(|(_, what)| *what == "event").count(), 3);
    assert_eq!(remarks, [Remark::EventDropped], "told once");
    assert!(queue.is_done());
}

#[test]
fn events_of_a_pod_are_bounded_and_the_newest_are_kept() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for number in 0..100 {
        queue.take(answer("a", status(PodPhase::Armed, 0), Some(event(&number.to_string()))), now);
    }
    let mut notes = Vec::new();
    while let Some(write) = queue.start(now) {
        if let Content::Event(notice) = &write.content {
            notes.extend(notice.event.note.clone());
        }
        queue.settle(write, Outcome::Written, now);
    }
    assert_eq!(notes, (92..100).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn what_fails_is_tried_again_after_longer_and_longer_pauses() {
    let (mut queue, start) = (Queue::default(), Instant::now());
    queue.take(answer("a", status(PodPhase::Armed, 0), None), start);
    let mut now = start;
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let (sent, _) = drain(&mut queue, now, |_| Outcome::Failed);
        assert_eq!(sent.len(), 1);
        let next = queue.wakes_at(now).unwrap();
        pauses.push((next - now).as_secs());
        // Counts that change meanwhile hurry nothing.
        queue.take(answer("a", status(PodPhase::Armed, pauses.len() as u64), None), now);
        now = next;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
    assert_eq!(drain(&mut queue, now, all_written).0.len(), 1);
    assert_eq!(queue.wakes_at(now), None);
}

#[test]
fn nothing_is_kept_of_a_pod_that_is_gone() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for pod in ["a", "b", "c"] {
        queue.take(answer(pod, status(PodPhase::Armed, 0), Some(event("armed"))), now);
    }
    let late = queue.start(now).unwrap();
    queue.forget(&name("a"));
    let (_, remarks) = drain(&mut queue, now, |write| match write.pod.name.as_str() {
        "b" => Outcome::Gone,
        _ => Outcome::Written,
    });
    assert!(remarks.contains(&Remark::Gone));
    assert_eq!(late.pod, name("a"));
    assert_eq!(queue.settle(late, Outcome::Failed, now), None);
    queue.forget(&name("c"));
    assert!(queue.lanes.is_empty() && queue.is_done());
    assert_eq!((queue.under_way, queue.failing_under_way), (0, 0));
}

#[test]
fn a_pod_of_the_same_name_gets_nothing_that_was_meant_for_the_one_before() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.take(answer("a", status(PodPhase::Armed, 0), Some(event("armed"))), now);
    let late = queue.start(now).unwrap();
    let mut replaced = answer("a", status(PodPhase::Waiting, 0), None);
    replaced.reference.uid = Some("another".into());
    queue.take(replaced, now);
    queue.settle(late, Outcome::Gone, now);
    let write = queue.start(now).unwrap();
    assert_eq!(write.reference.uid.as_deref(), Some("another"));
    queue.settle(write, Outcome::Written, now);
    assert!(queue.is_done());
}

#[test]
fn at_last_the_statuses_of_healthy_pods_are_written_though_others_are_refused() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let server = refuse_statuses_of("a");
    for round in 0..3 {
        for pod in ["a", "b", "c"] {
            queue.take(answer(pod, status(PodPhase::Armed, round), Some(event("armed"))), now);
        }
        drain(&mut queue, now, &server);
    }
    for pod in ["a", "b", "c"] {
        queue.take(answer(pod, status(PodPhase::Waiting, 9), Some(event("ended"))), now);
    }
    queue.close();
    let (sent, _) = drain(&mut queue, now, &server);
    let whole = |pod: &str| (pod.to_owned(), "whole");
    assert!(sent.contains(&whole("b")) && sent.contains(&whole("c")), "{sent:?}");
    let first_event = sent.iter().position(|(_, what)| *what == "event").unwrap();
    let last_healthy = sent.iter().rposition(|(pod, what)| pod != "a" && *what == "whole");
    assert!(last_healthy.unwrap() < first_event, "{sent:?}");
    assert!(queue.is_done());
    assert_eq!(queue.outdated(), 1);
}

#[test]
fn pods_that_hang_and_fail_leave_room_for_the_others() {
    const STEP: Duration = Duration::from_millis(100);
    const HANGS: usize = 100;
    let (mut queue, start) = (Queue::default(), Instant::now());
    let mut under_way: Vec<(Write, usize)> = Vec::new();
    let mut waiting = None;
    let mut longest = 0;
    for step in 0..20_000 {
        let now = start + STEP * u32::try_from(step).unwrap();
        if step % 50 == 0 {
            for number in 0..64 {
                let pod = format!("broken-{number}");
                queue.take(answer(&pod, status(PodPhase::Armed, step as u64), None), now);
            }
            if waiting.is_none() {
                queue.take(answer("healthy", status(PodPhase::Armed, step as u64), None), now);
                waiting = Some(step);
            }
        }
        while let Some(write) = queue.start(now) {
            let hangs = if write.pod.name == "healthy" { 1 } else { HANGS };
            under_way.push((write, step + hangs));
        }
        for (write, _) in under_way.extract_if(.., |(_, until)| *until <= step) {
            let is_healthy = write.pod.name == "healthy";
            queue.settle(write, if is_healthy { Outcome::Written } else { Outcome::Failed }, now);
            if let (true, Some(since)) = (is_healthy, waiting) {
                waiting = None;
                // The first time nobody knows yet who hangs: 64 pods, 8 at once, 10 s each.
                if step > 2_000 {
                    longest = longest.max(step - since);
                }
            }
        }
    }
    assert_eq!(longest, 1, "in tenths of a second");
}

/// What a broken pod's writes come to, and for how many steps each hangs.
fn failures() -> impl Strategy<Value = Vec<(Outcome, u32)>> {
    let outcome = prop_oneof![
        Just(Outcome::Failed),
        Just(Outcome::Refused),
        Just(Outcome::Failed),
        Just(Outcome::Gone),
        Just(Outcome::Written),
    ];
    vec((outcome, 0..100_u32), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Steps are tenths of a second; broken pods hang for ten seconds at most, as writes do.
    #[test]
    fn every_healthy_pod_is_written_within_a_bound_of_turns(
        broken in vec(failures(), 0..16),
        healthy in 1..16_usize,
        gaps in vec(1..60_u32, 1..8),
    ) {
        const STEP: Duration = Duration::from_millis(100);
        let pods = broken.len() + healthy;
        // At worst every lane of a broken pod has its turn first, and hangs for its whole time.
        let bound = 100 * (2 * broken.len()).div_ceil(AT_ONCE) + 2 * pods;
        let (mut queue, start) = (Queue::default(), Instant::now());
        let mut under_way: Vec<(Write, Outcome, usize)> = Vec::new();
        let mut since = vec![None; healthy];
        let mut tries = vec![0; broken.len()];
        let mut next_take = 0;
        let mut rounds = 0;
        for step in 0..1_500_usize {
            let now = start + STEP * u32::try_from(step).unwrap();
            if step == next_take {
                next_take += gaps[rounds % gaps.len()] as usize;
                rounds += 1;
                for number in 0..pods {
                    let pod = format!("pod-{number:02}");
                    let phase = if rounds % 3 == 0 { PodPhase::Ended } else { PodPhase::Armed };
                    let event = (rounds % 3 == 0).then(|| event("ended"));
                    queue.take(answer(&pod, status(phase, rounds as u64), event), now);
                    if let Some(at) = number.checked_sub(broken.len()) {
                        since[at].get_or_insert(step);
                    }
                }
            }
            while let Some(write) = queue.start(now) {
                let number: usize = write.pod.name[4..].parse().unwrap();
                let (outcome, steps) = match broken.get(number) {
                    Some(failures) => {
                        tries[number] += 1;
                        failures[tries[number] % failures.len()]
                    }
                    None => (Outcome::Written, 1),
                };
                under_way.push((write, outcome, step + steps.max(1) as usize));
            }
            prop_assert!(under_way.len() <= AT_ONCE);
            for (write, outcome, _) in under_way.extract_if(.., |(_, _, until)| *until <= step) {
                let number: usize = write.pod.name[4..].parse().unwrap();
                let is_status = matches!(write.content, Content::Status { .. });
                queue.settle(write, outcome, now);
                if let (true, Some(at)) = (is_status, number.checked_sub(broken.len())) {
                    let waited = step - since[at].take().unwrap_or(step);
                    prop_assert!(waited <= bound, "pod-{number:02} waited {waited} of {bound}");
                }
            }
            for since in since.iter().flatten() {
                prop_assert!(step - since <= bound);
            }
        }
        // None of the broken ones is remembered by more than a lane.
        prop_assert!(queue.lanes.len() <= pods);
    }
}
