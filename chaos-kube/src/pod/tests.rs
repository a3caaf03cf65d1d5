use std::{collections::BTreeMap, sync::Arc};

use chaos_api::{AllowedVerbs, Epoch};
use k8s_openapi::jiff::Timestamp;
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use super::*;
use crate::{
    events::event,
    guard::Orders,
    kills::{Deed, Kill},
    names::PodName,
    status::digest,
    texts::Text,
};

const SECOND: u64 = 1_000_000_000;

/// Written by version 0.1.0 for [`TEXT`].
const OLD: &str = include_str!("status-0.1.0.json");
const TEXT: &str = "drop 10% egress udp to 10.0.0.0/8 for 10m; fail connect with ECONNREFUSED; \
                    drop ingress after 1h";

fn facts(text: &str) -> Observed {
    Observed {
        name: PodName { namespace: "shop".into(), name: "web-0".into() },
        uid: "0f-1".into(),
        cgroup: None,
        is_mirror: false,
        host_network: false,
        containers: BTreeMap::new(),
        is_over: false,
        allows: Some(AllowedVerbs::default()),
        text: Some(Arc::new(Text::read(text))),
        asked: Epoch::default(),
        peers: BTreeMap::new(),
        orders: Orders::default(),
        recorded: BTreeMap::new(),
    }
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// Five minutes after boot.
fn now(wall: &str) -> Now {
    Now { wall: at(wall), boot: 300 * SECOND, boot_id: Now::boot_id(), instant: Instant::now() }
}

/// What an agent knows that is started on a pod with this text and this status.
fn resumed(text: &str, status: Option<Status>, now: &Now) -> PodState {
    let mut known = PodState::new(facts(text), ObjectReference::default(), status, now);
    let faults = known.facts.text.as_ref().unwrap().faults.clone().unwrap();
    known.adopt(&faults, now);
    known
}

/// The clocks in the order of the text.
fn clocks(known: &PodState) -> Vec<Option<Clock>> {
    known.faults.iter().map(|tracked| tracked.clock).collect()
}

#[test]
fn a_status_of_version_0_1_0_is_resumed_by_the_wall_clock() {
    let old = Status::read(OLD);
    let known = resumed(TEXT, old.clone(), &now("2026-01-01T12:04:00Z"));
    let since = |nanoseconds: u64| Some(Clock::Since(FaultClock::since(nanoseconds)));
    assert_eq!(clocks(&known), [since(60 * SECOND), since(60 * SECOND + SECOND / 2), None]);
    assert_eq!(known.faults[0].status.counts.injected, 11);
    // From now on the boot clock is noted, too.
    let status = known.status();
    assert_eq!((status.began, status.boot_id.as_deref()), (Some(60 * SECOND), Now::boot_id()));
    assert_eq!(status.since, old.and_then(|old| old.since));

    let known = resumed(TEXT, Status::read(OLD), &now("2026-01-01T12:06:00Z"));
    let past = Some(Clock::Over(Why::Past));
    assert_eq!(clocks(&known)[1], past);
    let known = resumed(TEXT, Status::read(OLD), &now("2026-01-01T11:59:59Z"));
    let ahead = Some(Clock::Over(Why::Ahead));
    assert_eq!(clocks(&known), [ahead, ahead, None]);
    let told: Vec<String> = known.over().collect();
    assert!(told[0].starts_with("`drop 10% egress udp to 10.0.0.0/8 for 10m`: its"), "{told:?}");
    assert!(told[0].ends_with("it is over, not new"), "{told:?}");
}

#[test]
fn what_was_over_once_is_over_when_its_beginning_does_not_lie_ahead_any_more() {
    let known = resumed(TEXT, Status::read(OLD), &now("2026-01-01T11:59:59Z"));
    let known = resumed(TEXT, Some(known.status()), &now("2026-01-01T12:01:00Z"));
    let ended = Some(Clock::Over(Why::Ended));
    assert_eq!(clocks(&known), [ended, ended, None]);
}

#[test]
fn a_short_status_has_the_clock_of_all_faults() {
    let text = "drop 10% egress for 10m; fail connect with EPERM for 20m";
    let mut armed = resumed(text, None, &now("2026-01-01T12:00:00Z"));
    for (number, tracked) in (0..).zip(&mut armed.faults) {
        let since = at("2026-01-01T12:00:00Z") + Duration::from_secs(number);
        tracked.status.since = Some(MicroTime(since));
        tracked.status.began = Some((300 + number) * SECOND);
    }
    let short = armed.status().shortened();
    assert!(serde_json::to_string(&short).unwrap().len() < 190);
    let later = Now { boot: 400 * SECOND, ..now("2020-01-01T00:00:00Z") };
    let known = resumed(text, Some(short.clone()), &later);
    assert_eq!(clocks(&known), [Some(Clock::Since(FaultClock::since(300 * SECOND))); 2]);

    // Of another text it says nothing.
    let known = resumed("drop 11% egress for 10m", Some(short), &later);
    assert_eq!(clocks(&known), [None]);
}

#[test]
fn a_beginning_that_lies_ahead_is_shown_where_it_was() {
    let mut armed = resumed("drop", None, &now("2026-01-01T12:00:00Z"));
    armed.faults[0].status.since = Some(MicroTime(at("2026-01-01T12:00:00Z")));
    armed.faults[0].status.began = Some(300 * SECOND);
    let later = Now { boot: 310 * SECOND, ..now("2026-01-01T11:00:10Z") };
    let known = resumed("drop", Some(armed.status()), &later);
    assert_eq!(known.status().since, Some(MicroTime(at("2026-01-01T11:00:00Z"))));
}

/// JSON values of all kinds, more or less fit for a place in a status.
fn forged() -> impl Strategy<Value = Value> {
    let times = [
        "-009999-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "+262000-01-01T00:00:00Z",
        "0000-00-00T00:00:00Z",
        "1970-01-01T00:00:00.000000Z",
        "2026-01-01T12:00:00Z",
        "2026-11-28T03:20:00.000000+99:99",
        "",
        "x",
    ];
    let numbers = [json!(u64::MAX), json!(i64::MIN), json!(1e300), json!(-1), json!(0), json!("7")];
    prop_oneof![
        select(times.to_vec()).prop_map(Value::from),
        select(numbers.to_vec()),
        select(vec!["Armed", "Ended", "Waiting", "active", "ended", "waiting"])
            .prop_map(Value::from),
        Just(json!(null)),
        Just(json!([])),
        Just(json!({ "chance": u64::MAX })),
        any::<u64>().prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_forged_status_crashes_nothing_and_gives_no_fault_more_than_its_time(
        changes in prop::collection::vec((0..4_usize, 0..90_usize, forged()), 0..6),
        repeated in select(vec![1, 0, 300]),
        cut in prop::option::weighted(0.1, 0..2_000_usize),
        wall in select(vec!["2026-01-01T12:04:00Z", "1970-01-01T00:00:00Z", "9999-12-30T00:00:00Z"]),
        text in select(vec![TEXT, "drop 1%"]),
    ) {
        const OF_STATUS: [&str; 9] =
            ["phase", "observed", "since", "until", "bootId", "began", "ends", "faults", "messages"];
        const OF_FAULT: [&str; 10] =
            ["phase", "since", "until", "began", "ends", "seed", "countedSince", "matched", "lost", "spared"];
        let now = now(wall);
        let mut status: Value = serde_json::from_str(OLD).unwrap();
        status["bootId"] = json!(Now::boot_id());
        for (place, name, value) in changes {
            match place {
                0 => status[OF_STATUS[name % OF_STATUS.len()]] = value,
                at => if let Some(fault) = status["faults"].get_mut(at - 1) {
                    fault[OF_FAULT[name % OF_FAULT.len()]] = value;
                },
            }
        }
        if let Some(first) = status["faults"].get(0).cloned().filter(|_| repeated != 1) {
            status["faults"] = vec![first; repeated].into();
        }
        let mut annotation = status.to_string();
        if let Some(cut) = cut {
            annotation.truncate(annotation.floor_char_boundary(cut));
        }
        let read = Status::read(&annotation);
        let known = resumed(text, read.clone(), &now);
        for clock in clocks(&known).into_iter().flatten() {
            if let Clock::Since(FaultClock { began, .. }) = clock {
                prop_assert!(began <= now.boot, "{began} lies ahead: {annotation}");
            }
        }
        let status = known.status();
        event(read.as_ref(), &status);
        prop_assert!(Status::read(&serde_json::to_string(&status).unwrap()).is_some());
    }
}

#[test]
fn brackets_without_end_are_no_status() {
    assert_eq!(Status::read(&"[".repeat(50_000)), None);
    assert_eq!(Status::read(&"{\"faults\":".repeat(50_000)), None);
}

#[test]
fn a_phase_changes_when_the_fault_begins_to_act_and_when_it_ends() {
    let now = now("2026-01-01T12:00:00Z");
    let mut known = resumed("drop after 10s for 5s; drop egress for 20s", None, &now);
    assert_eq!(known.next_change(&now), None, "nothing is armed");
    known.armed.insert(ArmedId("pod:shop/web-0".into()), vec![0, 1]);
    for tracked in &mut known.faults {
        tracked.clock = Some(Clock::Since(FaultClock::since(now.boot)));
    }
    known.faults[0].ends = Some(now.boot + 15 * SECOND);
    known.faults[1].ends = Some(now.boot + 20 * SECOND);
    known.faults[1].status.phase = Phase::Active;
    let next = |known: &PodState| known.next_change(&now).map(|change| change.as_secs());
    assert_eq!(next(&known), Some(10));
    known.faults[0].status.phase = Phase::Active;
    assert_eq!(next(&known), Some(15));
    known.faults[0].status.phase = Phase::Ended;
    assert_eq!(next(&known), Some(20));
}

#[test]
fn what_another_agent_armed_after_the_pod_was_met_goes_on() {
    let now = now("2026-01-01T12:05:00Z");
    let mut known = resumed("drop for 40s; corrupt for 40s; delay 5ms egress", None, &now);
    let sentence = |known: &PodState, index: usize| known.faults[index].status.fault.clone();
    let began =
        |index: usize, second: u64| (sentence(&known, index), FaultClock::since(second * SECOND));
    let clocks = ForeignClocks::new([began(0, 270), began(2, 280)], None);
    known.faults[2].clock = Some(Clock::Since(FaultClock::since(100 * SECOND)));
    known.learn(&[0, 1, 2], &clocks, &now);
    let since = |second: u64| Some(Clock::Since(FaultClock::since(second * SECOND)));
    assert_eq!(self::clocks(&known), [since(270), None, since(100)]);
    let status = known.status();
    assert_eq!(status.faults[0].began, Some(270 * SECOND));
    assert_eq!(status.since.map(|since| since.0), Some(at("2026-01-01T12:04:30Z")));
    // And with the one that follows on this one, whatever was written over.
    let next = resumed("drop for 40s", Some(Status { since: None, ..known.status() }), &now);
    assert_eq!(self::clocks(&next), [since(270)]);
}

#[test]
fn the_status_says_why_nothing_has_matched_until_something_does() {
    let now = now("2026-01-01T12:04:00Z");
    let mut known = resumed("drop", None, &now);
    let id = ArmedId("pod:shop/web-0".to_owned());
    known.armed.insert(id.clone(), vec![0]);
    let report = |unmatched: Option<&str>| -> TargetReport {
        let fault = json!({
            "fault": "drop", "index": 0, "hooks": [], "seed": 1, "phase": "active", "began": 0,
            "ends": SECOND, "slot": 0, "notes": [], "unmatched": unmatched,
            "counts": {"matched": 0, "injected": 0, "shadowed": 0, "spared": {}},
        });
        let target = json!({
            "id": id, "target": "shop/web-0", "cgroup": "/a", "notes": [], "faults": [fault],
        });
        serde_json::from_value(target).unwrap()
    };
    let mut told = |unmatched| {
        known.count(&report(unmatched), false, &now);
        let status = serde_json::to_value(known.status()).unwrap();
        status["faults"][0].get("unmatched").cloned()
    };
    assert_eq!(told(Some("it goes over tcp")), Some(json!("it goes over tcp")));
    assert_eq!(told(None), None);
}

#[test]
fn the_status_has_the_notes_of_what_is_armed_as_they_are_now() {
    let now = now("2026-01-01T12:04:00Z");
    let mut known = resumed("drop", None, &now);
    known.settle(vec!["one waits".to_owned()]);
    let id = ArmedId("pod:shop/web-0".to_owned());
    known.armed.insert(id.clone(), vec![0]);
    let mut told = |missed: u64, notes: &[&str]| {
        let target = json!({ "id": id, "target": "shop/web-0", "cgroup": "/a", "missed": missed,
                             "notes": notes, "faults": [] });
        known.count(&serde_json::from_value(target).unwrap(), false, &now);
        let status = known.status();
        (status.missed, status.messages)
    };
    assert_eq!(told(0, &["looking"]), (0, vec!["one waits".to_owned(), "looking".to_owned()]));
    assert_eq!(told(7, &[]), (7, vec!["one waits".to_owned()]));
    told(8, &["up to 8"]);
    // What was missed stays missed when nothing is armed any more; its notes go.
    known.close(PodPhase::Ended, Vec::new());
    assert_eq!((known.status().missed, known.status().messages), (8, Vec::new()));
}

#[test]
fn an_until_that_passed_before_the_fault_was_armed_is_its_end() {
    let text = "drop until 2026-01-01T12:00:00Z as one/two; corrupt until 2026-01-01T12:00:01Z";
    let known = resumed(text, None, &now("2026-01-01T12:00:00Z"));
    assert_eq!(clocks(&known), [Some(Clock::Over(Why::Until)), None]);
    let told: Vec<String> = known.over().collect();
    assert_eq!(told, ["`drop until 2026-01-01T12:00:00Z as one/two`: its `until` has passed"]);
    // For good, wherever the clock is set to, and for the next agent, too.
    let back = now("2026-01-01T11:00:00Z");
    let known = resumed(text, Some(known.status()), &back);
    assert_eq!(clocks(&known), [Some(Clock::Over(Why::Ended)), None]);
}

#[test]
fn the_same_fault_under_another_name_has_a_clock_of_its_own() {
    let now = now("2026-01-01T12:00:00Z");
    let mut known = resumed("drop for 40s as a/b", None, &now);
    known.faults[0].clock = Some(Clock::Over(Why::Ended));
    let other = chaos_fault::parse("drop for 40s as a/c; drop for 40s as a/b").unwrap();
    let other: Vec<Fault> = other.into_iter().map(|sentence| sentence.fault).collect();
    known.adopt(&other, &now);
    assert_eq!(clocks(&known), [None, Some(Clock::Over(Why::Ended))]);
}

#[test]
fn the_computed_end_is_noted_and_resumed_in_short_too() {
    let text = "drop for 10m until 2026-01-01T12:03:00Z";
    let now = now("2026-01-01T12:00:00Z");
    let mut known = resumed(text, None, &now);
    known.faults[0].status.began = Some(300 * SECOND);
    known.faults[0].status.ends = Some(480 * SECOND);
    let status = known.status();
    let later = Now { boot: 400 * SECOND, ..self::now("2026-01-01T09:00:00Z") };
    let clock = FaultClock { began: 300 * SECOND, ends: Some(480 * SECOND) };
    for noted in [status.clone(), status.shortened()] {
        assert_eq!(clocks(&resumed(text, Some(noted), &later)), [Some(Clock::Since(clock))]);
    }
}

#[test]
fn what_an_earlier_agent_may_have_killed_is_not_killed_again() {
    let text = "kill container";
    let status = json!({
        "phase": "Waiting", "observed": digest(text), "bootId": Now::boot_id(), "began": 60 * SECOND,
        "faults": [{ "fault": text, "phase": "waiting", "since": "2026-01-01T12:00:00Z", "began": 60 * SECOND,
                     "killed": ["a".repeat(64)], "matched": 0, "injected": 0, "shadowed": 0, "spared": {} }],
    });
    let now = now("2026-01-01T12:04:00Z");
    let mut known = resumed(text, Status::read(&status.to_string()), &now);
    let running = Ok(vec!["b".repeat(64).parse().unwrap()]);
    let kill = Kill { index: 0, shadow: false, running };
    assert_eq!(known.next_of(&kill, &now), Deed::Nothing);
    let status = &known.faults[0].status;
    assert_eq!((status.phase, status.counts.matched, status.counts.lost), (Phase::Ended, 1, 1));
    assert_eq!(status.killed, ["a".repeat(64)]);
}
