//! Every pair of verbs on frames, armed apart from each other on one target: by one process, by two, on
//! cgroups of which one is in the other. Either the victim sees what each alone gives, or the second is
//! refused when it is armed. Nothing breeds, nothing is cut off.

mod answered;
mod processes;

use std::{thread::sleep, time::Duration};

use anyhow::{Context, Result, bail};
use chaos_api::{ArmedId, Counts, Outcome as Arming};
use chaos_engine::{
    arm::{Armed, Armory, Request},
    cgroup::CgroupRoot,
};
use chaos_plan::{Terms, plan};
use chaos_tests::{
    cgroup::TestCgroup,
    clock::is_emulated,
    injector::parse,
    job::{UdpSend, UdpSink},
    process::{Place, Process},
    require,
    victim::Victim,
};

use super::pairs::{DATAGRAMS, Effect, LONGEST, Outcome, VERBS, Verb, in_order, verb};
use crate::{
    agent::{Agent, features, has_frames, has_line, target},
    pair::{Pair, idle},
};

/// Who arms the second of two texts, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    OneProcess,
    TwoProcesses,
    /// Two processes; the second target is above the first.
    Above,
    /// One process; the second target is below the first.
    Below,
}

const WAYS: [Way; 4] = [Way::OneProcess, Way::TwoProcesses, Way::Above, Way::Below];

/// A pair of hosts with a cgroup in that of each, where the victims are.
struct Scene {
    _idle: [Process; 2],
    inner: [TestCgroup; 2],
    pair: Pair,
}

impl Scene {
    fn new() -> Result<Self> {
        let pair = Pair::new()?;
        let inner = [pair.client_cgroup.child("inner")?, pair.server_cgroup.child("inner")?];
        let client = Place::here().cgroup(&inner[0]).netns(&pair.client_netns);
        let server = Place::here().cgroup(&inner[1]).netns(&pair.server_netns);
        Ok(Self { _idle: [idle(client)?, idle(server)?], inner, pair })
    }

    fn client(&self) -> Place<'_> {
        Place::here().cgroup(&self.inner[0]).netns(&self.pair.client_netns)
    }

    fn server(&self) -> Place<'_> {
        Place::here().cgroup(&self.inner[1]).netns(&self.pair.server_netns)
    }

    /// The target that acts in this direction: that with the victim alone, and the one above.
    fn targets(&self, direction: &str) -> [&TestCgroup; 2] {
        match direction {
            "egress" => [&self.inner[0], &self.pair.client_cgroup],
            _ => [&self.inner[1], &self.pair.server_cgroup],
        }
    }
}

/// Two texts that are armed apart.
struct Apart {
    armories: Vec<Armory>,
    ids: [ArmedId; 2],
}

/// `Err` with the refusal, where the second is not armed.
type Armable = std::result::Result<Apart, String>;

impl Apart {
    fn arm(scene: &Scene, way: Way, direction: &str, texts: [&str; 2]) -> Result<Armable> {
        let [inner, outer] = scene.targets(direction);
        let cgroups = match way {
            Way::OneProcess | Way::TwoProcesses => [inner, inner],
            Way::Above => [inner, outer],
            Way::Below => [outer, inner],
        };
        let ids = ["a", "b"].map(|name| ArmedId(format!("test:{name}")));
        // What is armed by another value of this type is as that of another process: they know of
        // each other by the kernel alone.
        let mut armories = vec![Agent::new(&scene.pair.claim)?.armory];
        if matches!(way, Way::TwoProcesses | Way::Above) {
            armories.push(Agent::new(&scene.pair.claim)?.armory);
        }
        for ((text, cgroup), id) in texts.into_iter().zip(cgroups).zip(&ids) {
            let place = if *id == ids[0] { 0 } else { armories.len() - 1 };
            let request = Request {
                id: id.clone(),
                target: target(cgroup)?,
                faults: &parse(text)?,
                terms: Terms::default(),
                clock: &|_| None,
            };
            match armories[place].arm(request).with_context(|| format!("arm {text:?}"))? {
                Arming::Armed(_) => {}
                Arming::Refused(plan) => bail!("{}", plan.refused[0]),
                Arming::Occupied(occupied) => {
                    anyhow::ensure!(*id == ids[1], "the first is refused: {occupied:?}");
                    return Ok(Err(occupied.refusals[0].to_string()));
                }
            }
        }
        Ok(Ok(Self { armories, ids }))
    }

    fn counts(&self, which: usize) -> Result<Counts> {
        let mut reports = self.armories.iter().filter_map(|armory| armory.report(&self.ids[which]));
        let mut report = reports.next().context("it is not armed")??;
        let counts = report.faults.swap_remove(0).counts;
        anyhow::ensure!(counts.imbalance() == 0, "the ledger does not add up: {counts:?}");
        Ok(counts)
    }
}

/// [`VERBS`], and the one that the receiver notices.
fn verbs() -> Vec<Verb> {
    let mut verbs = VERBS.to_vec();
    verbs.push(verb("corrupt", 6, Effect::Broken));
    verbs
}

/// Whether what leaves, or a copy of it, belongs to nobody afterwards.
fn takes(verb: &Verb, direction: &str) -> bool {
    direction == "egress" && matches!(verb.effect, Effect::Copied | Effect::Held(_))
}

/// In which order a packet meets two that were armed one after the other.
fn order(way: Way, verbs: &[Verb; 2], direction: &str) -> [usize; 2] {
    let is_lost = |place: usize| verbs[place].effect == Effect::Lost;
    match direction {
        // The sockets are asked before there is a frame.
        "egress" if is_lost(0) => [0, 1],
        "egress" if is_lost(1) => [1, 0],
        "egress" if takes(&verbs[0], direction) => [1, 0],
        "egress" if takes(&verbs[1], direction) => [0, 1],
        "ingress" if is_lost(0) => [1, 0],
        "ingress" if is_lost(1) => [0, 1],
        // One program asks the outer target first.
        _ if way == Way::Below => [0, 1],
        // The one that was armed last is asked first.
        _ => [1, 0],
    }
}

/// What comes of two texts that one program asks: stage by stage, and at each the one first that was armed first.
fn in_one_walk(verbs: [Verb; 2], direction: &str) -> Outcome {
    if verbs.iter().all(|verb| verb.effect == Effect::Copied) {
        // Neither copies what the other has made.
        let each = DATAGRAMS / verbs[0].every;
        let received = DATAGRAMS + 2 * each;
        return Outcome { counts: [(DATAGRAMS, each); 2], received, ..Outcome::default() };
    }
    let stage = |place: &usize| match verbs[*place].effect {
        Effect::Lost if direction == "egress" => 0,
        Effect::Damaged | Effect::Broken => 1,
        Effect::Copied => 2,
        Effect::Held(_) if verbs[*place].name.starts_with("limit") => 3,
        Effect::Held(_) if verbs[*place].name.starts_with("delay") => 4,
        Effect::Held(_) => 5,
        Effect::Lost => 6,
    };
    let mut places = [0, 1];
    places.sort_by_key(stage);
    in_order(verbs, places, |verb| verb.effect == Effect::Lost)
}

/// What comes of datagrams on their way through both; `None` where an emulated processor was away for so
/// long that frames passed unheld.
fn sent_through(scene: &Scene, apart: &Apart, verbs: &[Verb; 2]) -> Result<Option<Outcome>> {
    let sink = UdpSink { bind: scene.pair.server_end.socket_v4(0) };
    let sink = Victim::start(sink, scene.server())?;
    let sent = Victim::run(UdpSend::new(sink.address(), DATAGRAMS), scene.client())?.total();
    assert_eq!((sent.ok, sent.failed()), (DATAGRAMS, 0), "{:?}", sent.errors);
    // One holds for as long behind the other.
    sleep(LONGEST * verbs.iter().filter(|verb| verb.holds()).count() as u32);
    let received = sink.stop()?;
    let counts = [apart.counts(0)?, apart.counts(1)?];
    if is_emulated() && counts.iter().any(|counts| counts.spared.contains_key("unfit")) {
        return Ok(None);
    }
    Ok(Some(Outcome {
        counts: counts.map(|counts| (counts.matched, counts.injected)),
        received: received.received,
        damaged: received.corrupted,
        ..Outcome::default()
    }))
}

/// Both are in force and do what each does alone.
fn check_both(
    scene: &Scene,
    (way, apart): (Way, &Apart),
    verbs: [Verb; 2],
    direction: &str,
    what: &str,
) -> Result<()> {
    let expected = match way {
        Way::OneProcess => in_one_walk(verbs, direction),
        // What meets the second has come out of the first.
        Way::TwoProcesses | Way::Above | Way::Below => {
            in_order(verbs, order(way, &verbs, direction), |_| true)
        }
    };
    let Some(found) = sent_through(scene, apart, &verbs)? else { return Ok(()) };
    if verbs.iter().all(|verb| verb.effect == Effect::Lost) {
        if way == Way::OneProcess {
            // One program asks both, and what the first loses does not meet the second.
            let expected = in_order(verbs, [0, 1], |_| true);
            assert_eq!((found.counts, found.received), (expected.counts, expected.received));
            return Ok(());
        }
        // The kernel asks all programs of a cgroup, whatever the first says.
        let each = (DATAGRAMS, DATAGRAMS / verbs[0].every);
        assert_eq!((found.counts, found.received), ([each; 2], DATAGRAMS - each.1), "{what}");
        return Ok(());
    }
    let is_broken = |verb: &Verb| verb.effect == Effect::Broken;
    assert_eq!(found.counts, expected.counts, "{what}");
    if verbs.iter().all(is_broken) {
        // A bit that is flipped twice is whole again.
        let twice = DATAGRAMS / verbs[0].every;
        let bound = expected.received..=expected.received + twice;
        assert!(bound.contains(&found.received), "{what}: {found:?} {expected:?}");
        return Ok(());
    }
    assert_eq!(found.received, expected.received, "{what}");
    if is_emulated() || verbs.iter().any(is_broken) {
        return Ok(());
    }
    if verbs.iter().all(|verb| verb.effect == Effect::Damaged) {
        // Here, too, of a few.
        let bound = expected.damaged - 3..=expected.damaged;
        assert!(bound.contains(&found.damaged), "{what}: {found:?} {expected:?}");
    } else {
        assert_eq!(found.damaged, expected.damaged, "{what}");
    }
    Ok(())
}

/// What to do instead is told, too: on one cgroup both go into one text, which says what it makes of two that
/// do the same; two cgroups have no text in common.
fn check_remedy(way: Way, texts: &[String; 2], is_same_verb: bool, refusal: &str) {
    let both = format!("in one text: `{}`", texts.join("; "));
    let cautions = refusal.contains("the first that hits a packet decides");
    match way {
        Way::OneProcess | Way::TwoProcesses => {
            assert!(refusal.contains(&both), "{refusal}");
            assert_eq!(cautions, is_same_verb, "{refusal}");
        }
        Way::Above | Way::Below => {
            assert!(refusal.contains("arm all of it on the upper one of the two"), "{refusal}");
            assert!(!refusal.contains(&both) && !cautions, "{refusal}");
        }
    }
}

fn canonical(text: &str) -> Result<String> {
    Ok(parse(text)?[0].to_string())
}

#[test]
fn each_does_what_it_does_alone_or_the_second_is_refused() -> Result<()> {
    let scene = Scene::new()?;
    require!("frames", since 4, 5; has_frames(&scene.pair.claim));
    require!("a delay line", since 5, 8; has_line(&scene.pair.claim));
    let (mut cells, mut refused, mut driven) = (0, 0, 0);
    for direction in ["egress", "ingress"] {
        for first in verbs() {
            for second in verbs() {
                let texts = [first, second].map(|verb| verb.sentence(direction));
                // Not the same dice, or the second would undo the damage of the first.
                let texts = [format!("{} seed 1", texts[0]), format!("{} seed 2", texts[1])];
                let texts = [canonical(&texts[0])?, canonical(&texts[1])?];
                let are_copies = [first, second].iter().all(|verb| verb.effect == Effect::Copied);
                let is_refused =
                    are_copies || takes(&first, direction) && takes(&second, direction);
                for (number, way) in WAYS.into_iter().enumerate() {
                    let clashes = is_refused;
                    let is_refused = clashes && way != Way::OneProcess;
                    cells += 1;
                    // Traffic is sent through each pair in one of the ways, and through few of them where
                    // that takes long.
                    let turn = cells / WAYS.len();
                    let is_due = turn % WAYS.len() == number || clashes && !is_refused;
                    let is_driven = is_due && (!is_emulated() || turn.is_multiple_of(5));
                    let is_sampled = !is_emulated() && turn.is_multiple_of(7);
                    let is_refused_here = is_refused && (!is_emulated() || number == turn % 4);
                    if !is_driven && !is_refused_here && !is_sampled {
                        continue;
                    }
                    let what = format!("{way:?}, {:?} then {:?}", texts[0], texts[1]);
                    let armed =
                        Apart::arm(&scene, way, direction, texts.each_ref().map(String::as_str))?;
                    match armed {
                        Err(refusal) => {
                            assert!(is_refused, "{what}: {refusal}");
                            assert!(
                                refusal.contains(&format!("has armed `{}`", texts[0])),
                                "{refusal}"
                            );
                            assert!(refusal.contains("as `test:a`"), "{refusal}");
                            check_remedy(way, &texts, first.name == second.name, &refusal);
                            refused += 1;
                        }
                        Ok(apart) => {
                            assert!(!is_refused, "{what}");
                            if is_driven {
                                let apart = (way, &apart);
                                check_both(&scene, apart, [first, second], direction, &what)?;
                                driven += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    println!("of {cells} cells {refused} were refused, and traffic was sent through {driven}");
    assert!(refused >= 16 && driven > 0, "{refused} {driven}");
    Ok(())
}

/// Without the refusal: what the stamps alone make of two instances that copy the same frames.
#[test]
fn copies_of_copies_end_whatever_is_armed() -> Result<()> {
    let scene = Scene::new()?;
    require!("frames", since 4, 5; has_frames(&scene.pair.claim));
    let features = features(&scene.pair.claim)?;
    let root = CgroupRoot::discover()?;
    for (text, armings, on_wire, on_loopback) in [
        ("duplicate egress udp", 1, 2, 2),
        // What was copied belongs to nobody, so the other one does not copy it.
        ("duplicate egress udp", 2, 3, 3),
        ("duplicate ingress udp", 2, 4, 4),
        ("duplicate udp", 2, 4, 12),
        ("duplicate udp", 3, 8, 32),
        ("corrupt 0.000001% udp; duplicate udp", 2, 4, 12),
    ] {
        for (side, expected) in [(1, on_wire), (0, on_loopback)] {
            let is_loopback = side == 0;
            let cgroup = match text.contains("egress") {
                true => &scene.inner[0],
                false => &scene.inner[side],
            };
            let faults = parse(text)?;
            let mut armed = Vec::new();
            for _ in 0..armings {
                let plan = plan(&faults, features, &Terms::default());
                let mut one = Armed::apart(&root, target(cgroup)?, &plan)?;
                one.renew_apart(Duration::from_secs(60))?;
                armed.push(one);
            }
            let bind = match is_loopback {
                true => "127.0.0.1:0".parse()?,
                false => scene.pair.server_end.socket_v4(0),
            };
            let place = if is_loopback { scene.client() } else { scene.server() };
            let sink = Victim::start(UdpSink { bind }, place)?;
            Victim::run(UdpSend::new(sink.address(), 10), scene.client())?;
            // Whatever breeds does so for as long as it is armed.
            sleep(Duration::from_millis(if is_emulated() { 1_500 } else { 300 }));
            let received = sink.stop()?.received;
            let what = format!("{armings} of {text:?}, on the loopback: {is_loopback}");
            assert_eq!(received, 10 * expected, "{what}");
        }
    }
    Ok(())
}
