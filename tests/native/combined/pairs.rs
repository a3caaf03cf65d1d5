//! Every pair of verbs that can meet on a datagram: what arrives, and what the ledger says, is what
//! the order on the page and each verb alone would give.

use std::{collections::BTreeSet, thread::sleep, time::Duration};

use anyhow::Result;
use chaos_tests::{
    clock::is_emulated,
    job::{UdpSend, UdpSink},
    require,
    victim::Victim,
};

use crate::{
    agent::{Agent, has_frames, has_line},
    pair::Pair,
};

pub(super) const DATAGRAMS: u64 = 420;

/// Longer than anything is held.
pub(super) const LONGEST: Duration = Duration::from_millis(450);

/// What a verb does to a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Lost,
    Damaged,
    /// So that the receiver loses it.
    Broken,
    Copied,
    /// By so many milliseconds.
    Held(u64),
}

/// A verb that hits every so many of the datagrams that reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verb {
    pub name: &'static str,
    pub every: u64,
    pub effect: Effect,
}

pub(super) const fn verb(name: &'static str, every: u64, effect: Effect) -> Verb {
    Verb { name, every, effect }
}

/// In the order in which a packet meets them on its way out. All datagrams are limited, as those
/// that are not would overtake, and to a rate at which nobody waits for long.
pub(super) const VERBS: [Verb; 6] = [
    verb("drop", 3, Effect::Lost),
    verb("corrupt silent", 5, Effect::Damaged),
    verb("duplicate", 4, Effect::Copied),
    verb("limit 100mbit", 1, Effect::Held(0)),
    verb("delay 100ms", 7, Effect::Held(100)),
    verb("reorder by 250ms", 11, Effect::Held(250)),
];

impl Verb {
    pub fn sentence(&self, direction: &str) -> String {
        match self.every {
            1 => format!("{} {direction} udp", self.name),
            every => format!("{} every {every} {direction} udp", self.name),
        }
    }

    pub fn holds(&self) -> bool {
        matches!(self.effect, Effect::Held(_))
    }

    /// What comes of these, and how many were met and hit.
    fn apply(&self, datagrams: Vec<Datagram>) -> (Vec<Datagram>, u64, u64) {
        let met = datagrams.len() as u64;
        let applied =
            (1..).zip(datagrams).flat_map(|(ordinal, datagram): (u64, _)| match self.effect {
                _ if ordinal % self.every != 0 => vec![datagram],
                Effect::Lost => vec![],
                Effect::Damaged => vec![Datagram { is_damaged: true, ..datagram }],
                Effect::Broken => vec![Datagram { is_broken: true, ..datagram }],
                Effect::Copied => vec![datagram, datagram],
                Effect::Held(by) => vec![Datagram { held: datagram.held + by, ..datagram }],
            });
        (applied.collect(), met, met / self.every)
    }
}

#[derive(Clone, Copy, Debug)]
struct Datagram {
    sequence: u64,
    is_damaged: bool,
    is_broken: bool,
    held: u64,
}

/// What is to be expected, or what was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// How many datagrams each verb met and hit.
    pub counts: [(u64, u64); 2],
    pub received: u64,
    pub damaged: u64,
    /// Beyond the first with the same number.
    pub repeated: u64,
    /// Behind one with a greater number.
    pub late: u64,
}

/// By the order of stages.
fn expected(verbs: [Verb; 2], direction: &str) -> Outcome {
    let mut order = VERBS.to_vec();
    if direction == "ingress" {
        order.rotate_left(1);
    }
    let places = order.iter().filter_map(|verb| verbs.iter().position(|one| one == verb));
    in_order(verbs, places, |verb| verb.effect == Effect::Lost)
}

/// Of verbs that meet datagrams in the order of `places`, each those that the one before has let go:
/// where it `arrives` in the order of their arrival.
pub(super) fn in_order(
    verbs: [Verb; 2],
    places: impl IntoIterator<Item = usize>,
    arrives: impl Fn(&Verb) -> bool,
) -> Outcome {
    let new = |sequence| Datagram { sequence, is_damaged: false, is_broken: false, held: 0 };
    let mut datagrams: Vec<_> = (0..DATAGRAMS).map(new).collect();
    let mut outcome = Outcome::default();
    for place in places {
        let verb = &verbs[place];
        if arrives(verb) {
            datagrams.sort_by_key(|datagram| datagram.held);
        }
        if verb.effect == Effect::Lost {
            // On its way in it is the last, behind the stack's own look.
            datagrams.retain(|datagram| !datagram.is_broken);
        }
        let (left, met, hit) = verb.apply(datagrams);
        datagrams = left;
        outcome.counts[place] = (met, hit);
    }
    datagrams.retain(|datagram| !datagram.is_broken);
    datagrams.sort_by_key(|datagram| datagram.held);
    let (mut seen, mut greatest) = (BTreeSet::new(), 0);
    for Datagram { sequence, is_damaged, .. } in datagrams {
        outcome.received += 1;
        outcome.damaged += u64::from(is_damaged);
        outcome.repeated += u64::from(!seen.insert(sequence));
        outcome.late += u64::from(sequence < greatest);
        greatest = greatest.max(sequence);
    }
    outcome
}

impl Outcome {
    /// Without what depends on the order of arrival, which on an emulated machine is not that of
    /// what is held for longer.
    fn unordered(self) -> Self {
        Self { damaged: 0, repeated: 0, late: 0, ..self }
    }
}

/// What there is; `None` where an emulated processor was away for so long that frames passed unheld.
fn found(pair: &Pair, verbs: [Verb; 2], direction: &str) -> Result<Option<Outcome>> {
    let target = if direction == "egress" { &pair.client_cgroup } else { &pair.server_cgroup };
    let sink = Victim::start(UdpSink { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let faults = verbs.map(|verb| verb.sentence(direction)).join("\n");
    let agent = Agent::armed(&pair.claim, target, &faults)?;
    let sent = Victim::run(UdpSend::new(sink.address(), DATAGRAMS), pair.client())?.total();
    assert_eq!((sent.ok, sent.failed()), (DATAGRAMS, 0), "{:?}", sent.errors);
    if verbs.iter().any(Verb::holds) {
        sleep(LONGEST);
    }
    let received = sink.stop()?;
    let counts = [agent.counts(target, 0)?, agent.counts(target, 1)?];
    if is_emulated() && counts.iter().any(|counts| counts.spared.contains_key("unfit")) {
        return Ok(None);
    }
    Ok(Some(Outcome {
        counts: counts.map(|counts| (counts.matched, counts.injected)),
        received: received.received,
        damaged: received.corrupted,
        repeated: received.duplicates(),
        late: received.flows.values().map(|flow| flow.late).sum(),
    }))
}

#[test]
fn each_does_what_it_does_alone() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    for direction in ["egress", "ingress"] {
        for (index, first) in VERBS.into_iter().enumerate() {
            for second in VERBS.into_iter().skip(index + 1) {
                // The order in which they are written means nothing.
                let verbs = if index % 2 == 0 { [first, second] } else { [second, first] };
                let what = format!("{} with {}, {direction}", verbs[0].name, verbs[1].name);
                let expected = expected(verbs, direction);
                println!("{what}: {expected:?}");
                let is_held = verbs.iter().any(Verb::holds);
                match found(&pair, verbs, direction)? {
                    Some(found) if is_held && is_emulated() => {
                        assert_eq!(found.unordered(), expected.unordered(), "{what}");
                    }
                    Some(found) => assert_eq!(found, expected, "{what}"),
                    None => {}
                }
            }
        }
    }
    Ok(())
}
