//! What is armed where, as far as others have to know it: whoever arms a target compares what it is
//! about to arm with what is armed already, by this process or by another one.

use std::{fs, process};

use chaos_api::{ArmedId, FaultClock, ForeignClocks, Occupied, TAKEN_OVER};
use chaos_fault::{Fault, shortened};
use chaos_plan::{Plan, PlannedRule, Refusal, clash, is_asked};
use serde::{Deserialize, Serialize};

use crate::{
    cgroup::{CgroupRoot, Target, TargetError},
    kernel::CLAIM_BYTES,
};

/// Sentences of another arming that a message shows, in bytes.
const MOST_SHOWN: usize = 300;

/// What one process has armed, or is about to, for one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// A random number that tells it from all others.
    number: u64,
    /// Ids of the cgroups from the top of the hierarchy, as far as the process sees it, to the target.
    lineage: Vec<u64>,
    id: String,
    /// The process, for people.
    by: String,
    faults: Vec<ClaimedFault>,
    /// Of the faults for which there was no room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<Cut>,
}

/// What is said of faults that are not named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Cut {
    /// At least one of them is asked about frames that leave.
    is_asked: bool,
    /// The boot-clock moment (ns) at which the first of them began.
    began: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ClaimedFault {
    /// The canonical sentence.
    fault: String,
    /// The boot-clock moment (ns) at which its clock began, or a little before.
    began: u64,
    /// The boot-clock moment (ns) from which on it does nothing any more.
    ends: u64,
}

impl Claim {
    /// `times` tells of a rule when its clock began, and when it does nothing any more.
    pub fn new(
        id: &ArmedId,
        target: &Target,
        root: &CgroupRoot,
        plan: &Plan,
        times: impl Fn(&PlannedRule) -> (u64, u64),
    ) -> Result<Self, TargetError> {
        let number = getrandom::u64().map_err(|error| TargetError::Io {
            doing: "take a random number for",
            object: target.cgroup.path().to_owned(),
            source: std::io::Error::other(error),
        })?;
        // What is asked about frames that leave comes first: the others are for messages.
        let (first, rest): (Vec<&PlannedRule>, Vec<_>) =
            plan.rules.iter().partition(|rule| is_asked(&rule.fault));
        let faults = first.into_iter().chain(rest);
        let faults = faults
            .map(|rule| {
                let (began, ends) = times(rule);
                ClaimedFault { fault: rule.fault.to_string(), began, ends }
            })
            .collect();
        let lineage = root.lineage(&target.cgroup)?;
        let by = this_process();
        Ok(Self { number, lineage, id: id.0.clone(), by, faults, cut: None })
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// As text of at most [`CLAIM_BYTES`], with as many faults as there is room for.
    pub fn to_text(&self) -> Option<String> {
        let mut claim = self.clone();
        loop {
            let text = serde_json::to_string(&claim).ok()?;
            if text.len() <= CLAIM_BYTES {
                return Some(text);
            }
            claim.faults.pop()?;
            claim.cut = Some(Cut::of(self.faults.get(claim.faults.len()..)?));
        }
    }

    /// `None` for what is no claim. Its texts are shown to people, so what a terminal would obey is left out.
    pub fn of_text(text: &str) -> Option<Self> {
        let mut claim: Self = serde_json::from_str(text).ok()?;
        let faults = claim.faults.iter_mut().map(|one| &mut one.fault);
        for text in faults.chain([&mut claim.id, &mut claim.by]) {
            text.retain(|letter| !letter.is_control());
        }
        Some(claim)
    }

    /// Whether one target is the other, or above it.
    fn overlaps(&self, other: &Self) -> bool {
        let is_in = |one: &Self, other: &Self| {
            one.lineage.last().is_some_and(|cgroup| other.lineage.contains(cgroup))
        };
        is_in(self, other) || is_in(other, self)
    }

    /// The refusal of what is `asked` for by this claim, where another one, of this process or of another
    /// one (`is_foreign`), stands against it at this moment (boot clock, ns).
    pub fn against(
        &self,
        armed: &Self,
        asked: &[Fault],
        now: u64,
        is_foreign: bool,
    ) -> Option<Occupied> {
        if !self.overlaps(armed) {
            return None;
        }
        // One program asks all texts of a target that this process has armed.
        if !is_foreign && self.lineage.last() == armed.lineage.last() {
            return None;
        }
        if is_foreign && self.is_same_as(armed) {
            let reason = format!(
                "{} has it armed for `{}` still; it follows when that has ended",
                armed.by, armed.id
            );
            let refused = |(index, fault): (usize, &Fault)| Refusal {
                index,
                fault: fault.clone(),
                reason: reason.clone(),
                remedy: None,
            };
            let refusals = asked.iter().enumerate().map(refused).collect();
            return Some(Occupied { refusals, handed_over: Some(armed.clocks()) });
        }
        // What has ended holds nothing, there or here.
        let live = armed.faults.iter().filter(|claimed| claimed.ends > now);
        let sentences: Vec<&str> = live.map(|one| one.fault.as_str()).collect();
        let mut there: Vec<Fault> =
            sentences.iter().map(|sentence| claimed_fault(sentence)).collect();
        if armed.cut.is_some_and(|cut| cut.is_asked) {
            there.push(anything());
        }
        let (indices, asked): (Vec<usize>, Vec<Fault>) = (0..)
            .zip(asked)
            .filter(|(_, fault)| !self.is_over(fault, now))
            .map(|(index, fault)| (index, fault.clone()))
            .unzip();
        let (first, here) = clash(&there, &asked)?;
        let reason = format!(
            "{} has armed `{}` on this cgroup, or one above or below it, as `{}`",
            armed.by,
            sentences
                .get(first)
                .map_or("more faults than can be told".into(), |one| shortened(one)),
            armed.id,
        );
        let is_same_cgroup = armed.lineage.last() == self.lineage.last();
        let remedy = remedy(armed, &sentences, there.get(first)?, (&asked, here), is_same_cgroup)?;
        let (index, fault) = (*indices.get(here)?, asked.get(here)?.clone());
        let refusal = Refusal { index, fault, reason, remedy: Some(remedy) };
        Some(Occupied { refusals: vec![refusal], handed_over: None })
    }

    /// Whether this claim says that the time of a fault is up.
    fn is_over(&self, fault: &Fault, now: u64) -> bool {
        let sentence = fault.to_string();
        self.faults.iter().any(|own| own.ends <= now && own.fault == sentence)
    }

    /// The clocks of its faults.
    fn clocks(&self) -> ForeignClocks {
        let clock = |one: &ClaimedFault| FaultClock { began: one.began, ends: Some(one.ends) };
        let named = self.faults.iter().map(|one| (one.fault.clone(), clock(one)));
        ForeignClocks::new(named, self.cut.map(|cut| cut.began))
    }

    /// Whether agents of a node arm it one after the other.
    pub fn is_taken_over(&self) -> bool {
        self.id.split_once(':').is_some_and(|(owner, _)| owner == TAKEN_OVER)
    }

    /// Whether it is the same that two agents of a node arm one after the other.
    fn is_same_as(&self, other: &Self) -> bool {
        self.is_taken_over() && self.id == other.id && self.lineage.last() == other.lineage.last()
    }
}

impl Cut {
    fn of(faults: &[ClaimedFault]) -> Self {
        Self {
            is_asked: faults.iter().any(|one| is_asked(&claimed_fault(&one.fault))),
            began: faults.iter().map(|one| one.began).min().unwrap_or_default(),
        }
    }
}

/// How the fault `here` of what is asked for can be had beside what is armed, whose `met` it does not go
/// together with.
fn remedy(
    armed: &Claim,
    sentences: &[&str],
    met: &Fault,
    (asked, here): (&[Fault], usize),
    is_same_cgroup: bool,
) -> Option<String> {
    let fault = asked.get(here)?;
    if !is_same_cgroup {
        return Some(
            "what one arming holds back or copies on its way out, another one does not see: disarm that \
             first, or arm all of it on the upper one of the two cgroups, which has the processes of both"
                .to_owned(),
        );
    }
    let wanted = fault.to_string();
    if sentences.contains(&wanted.as_str()) {
        return Some(format!(
            "it is in force already: leave it out, or disarm `{}` first",
            armed.id
        ));
    }
    let mut together: Vec<String> = sentences.iter().map(|&sentence| sentence.to_owned()).collect();
    together.extend(asked.iter().map(Fault::to_string));
    let together = together.join("; ");
    let text = if together.len() > MOST_SHOWN || armed.cut.is_some() {
        "all of its faults and these, with `; ` between them".to_owned()
    } else {
        format!("`{together}`")
    };
    // Those that do different things are independent of each other in one text.
    let caution = if met.verb.word() != fault.verb.word() {
        ""
    } else if fault.verb.latency().is_some() {
        " (of two delays in one text the first that hits a packet decides; to have both add up, write one \
         longer delay)"
    } else {
        " (of two in one text that do the same, the first that hits a packet decides)"
    };
    Some(format!(
        "what one arming holds back or copies on its way out, another one does not see: disarm that, and \
         arm both in one text: {text}{caution}"
    ))
}

/// The fault of a claim's sentence.
fn claimed_fault(sentence: &str) -> Fault {
    let first = |sentences: Vec<chaos_fault::Sentence>| sentences.into_iter().next();
    // Of an agent that knows more than this one: it may hold everything.
    chaos_fault::parse(sentence)
        .ok()
        .and_then(first)
        .map_or_else(anything, |sentence| sentence.fault)
}

/// A fault that holds or copies everything.
fn anything() -> Fault {
    Fault::new(chaos_fault::Verb::Duplicate)
}

fn this_process() -> String {
    let arguments = fs::read("/proc/self/cmdline").unwrap_or_default();
    let verb = arguments.split(|byte| *byte == 0).nth(1).unwrap_or_default();
    let verb = String::from_utf8_lossy(verb);
    let is_verb = !verb.is_empty() && verb.chars().all(|letter| letter.is_ascii_lowercase());
    let verb = if is_verb { format!(" (chaos-agent {verb})") } else { String::new() };
    format!("process {}{verb}", process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;

    fn claim(id: &str, lineage: &[u64], text: &str) -> Claim {
        let faults = faults(text);
        let claimed = |fault: &Fault| ClaimedFault {
            fault: fault.to_string(),
            began: NOW / 2,
            ends: 2 * NOW,
        };
        Claim {
            number: 7,
            lineage: lineage.to_vec(),
            id: id.to_owned(),
            by: "process 42 (chaos-agent inject)".to_owned(),
            faults: faults.iter().map(claimed).collect(),
            cut: None,
        }
    }

    fn faults(text: &str) -> Vec<Fault> {
        chaos_fault::parse(text).unwrap().into_iter().map(|sentence| sentence.fault).collect()
    }

    fn refusals(armed: &Claim, asked: &Claim, text: &str, is_foreign: bool) -> Vec<String> {
        let occupied = asked.against(armed, &faults(text), NOW, is_foreign);
        occupied.iter().flat_map(|one| &one.refusals).map(ToString::to_string).collect()
    }

    const HELD: &str = "delay 5ms egress";

    #[test]
    fn the_same_cgroup_or_one_above_the_other() {
        for (armed, asked, overlap) in [
            (&[1, 2, 3][..], &[1, 2, 3][..], false),
            (&[1, 2], &[1, 2, 3], true),
            (&[1, 2, 3], &[1, 2], true),
            (&[1, 2, 3], &[1, 2, 4], false),
            (&[1, 5], &[1, 2], false),
            // One that sees only a part of the hierarchy.
            (&[1, 2, 3], &[2, 3, 4], true),
        ] {
            let refused = refusals(&claim("a", armed, HELD), &claim("b", asked, HELD), HELD, false);
            assert_eq!(!refused.is_empty(), overlap, "{armed:?} {asked:?}");
            // Another process knows nothing of the texts of this one.
            let refused = refusals(&claim("a", armed, HELD), &claim("b", asked, HELD), HELD, true);
            assert_eq!(!refused.is_empty(), overlap || armed == asked, "{armed:?} {asked:?}");
        }
    }

    #[test]
    fn a_refusal_names_what_is_armed_and_how_to_have_both() {
        let armed = claim("cli:1", &[1, 2], "drop 1% tcp; delay 5ms egress udp");
        let text = "corrupt 1%; duplicate udp";
        let refused = refusals(&armed, &claim("cli:2", &[1, 2], text), text, true);
        assert_eq!(
            refused,
            [
                "`duplicate udp`: process 42 (chaos-agent inject) has armed `delay 5ms egress udp` on \
              this cgroup, or one above or below it, as `cli:1`; what one arming holds back or copies \
              on its way out, another one does not see: disarm that, and arm both in one text: \
              `drop 1% tcp; delay 5ms egress udp; corrupt 1%; duplicate udp`"
            ]
        );
    }

    #[test]
    fn a_refusal_says_what_one_text_makes_of_two_that_do_the_same() {
        let armed = claim("cli:1", &[1, 2], "delay 5ms egress; duplicate egress");
        let ends = |text: &str| {
            let refused = refusals(&armed, &claim("cli:2", &[1, 2], text), text, true).remove(0);
            let remedy = refused.split_once("`cli:1`; ").unwrap().1;
            remedy.rsplit_once("does not see: ").map_or(remedy, |(_, remedy)| remedy).to_owned()
        };
        assert_eq!(
            ends("delay 7ms egress"),
            "disarm that, and arm both in one text: `delay 5ms egress; duplicate egress; delay 7ms egress` \
             (of two delays in one text the first that hits a packet decides; to have both add up, write one \
             longer delay)"
        );
        assert_eq!(
            ends("limit 1mbit egress"),
            "disarm that, and arm both in one text: `delay 5ms egress; duplicate egress; limit 1mbit egress`"
        );
        assert_eq!(
            ends("delay 5ms egress"),
            "it is in force already: leave it out, or disarm `cli:1` first"
        );
    }

    #[test]
    fn a_refusal_beside_another_cgroup_says_what_both_have_in_common() {
        let armed = claim("cli:1", &[1, 2, 3], HELD);
        let refused = refusals(&armed, &claim("cli:2", &[1, 2], HELD), HELD, true).remove(0);
        // It is not in force there, and one text has one target.
        assert!(
            refused.ends_with("the upper one of the two cgroups, which has the processes of both"),
            "{refused}"
        );
    }

    #[test]
    fn what_has_ended_stands_against_nothing() {
        let mut armed = claim("a", &[1, 2], HELD);
        armed.faults[0].ends = NOW;
        assert!(refusals(&armed, &claim("b", &[1, 2], HELD), HELD, true).is_empty());
        // Neither does it meet what is armed.
        let mut asked = claim("b", &[1, 2], "duplicate; corrupt; delay 5ms egress tcp");
        asked.faults[0].ends = NOW;
        let (armed, text) = (claim("a", &[1, 2], HELD), "duplicate; corrupt; delay 5ms egress tcp");
        let occupied = asked.against(&armed, &faults(text), NOW, true).unwrap();
        assert_eq!(occupied.refusals[0].index, 2, "{occupied:?}");
        asked.faults[2].ends = NOW;
        assert!(refusals(&armed, &asked, text, true).is_empty());
    }

    #[test]
    fn a_refusal_names_only_what_is_in_force() {
        let mut armed = claim("cli:1", &[1, 2], "delay 5ms egress; duplicate egress udp");
        armed.faults[0].ends = NOW;
        let refused = refusals(&armed, &claim("cli:2", &[1, 2], HELD), HELD, true).remove(0);
        assert!(refused.contains("has armed `duplicate egress udp` on"), "{refused}");
        let both = "arm both in one text: `duplicate egress udp; delay 5ms egress`";
        assert!(refused.ends_with(both), "{refused}");
    }

    #[test]
    fn what_cannot_be_read_may_hold_everything() {
        let asked = claim("b", &[1, 2], HELD);
        let mut newer = claim("a", &[1, 2], "drop");
        newer.faults[0].fault = "freeze the packets".to_owned();
        let mut cut = claim("a", &[1, 2], "drop");
        cut.cut = Some(Cut { is_asked: true, began: NOW });
        for armed in [newer, cut] {
            assert_eq!(refusals(&armed, &asked, HELD, true).len(), 1);
            assert!(refusals(&armed, &asked, "drop; corrupt egress", true).is_empty());
        }
        // What was cut and is never asked about frames holds none.
        let mut cut = claim("a", &[1, 2], "drop");
        cut.cut = Some(Cut { is_asked: false, began: NOW });
        assert!(refusals(&cut, &asked, HELD, true).is_empty());
    }

    #[test]
    fn a_pod_is_armed_by_one_agent_at_a_time() {
        let (old, new) =
            (claim("pod:shop/web-0", &[1, 2], "drop"), claim("pod:shop/web-0", &[1, 2], "drop"));
        let occupied = new.against(&old, &faults("drop; reset"), NOW, true).unwrap();
        let clocks = occupied.handed_over.unwrap();
        assert_eq!(clocks.of("drop").map(|clock| clock.began), Some(NOW / 2), "its clock goes on");
        assert_eq!(clocks.of("reset"), None);
        assert_eq!(occupied.refusals.len(), 2);
        // In one process the later text replaces the earlier one.
        assert!(new.against(&old, &faults("drop"), NOW, false).is_none());
        let by_hand = claim("cli:1", &[1, 2], "drop");
        assert!(by_hand.against(&by_hand, &faults("drop"), NOW, true).is_none());
    }

    #[test]
    fn a_claim_has_room_for_what_matters() {
        let whole = claim("cli:1", &[1, 2, 3], "delay 5ms egress; drop 1% to 10.0.0.0/8");
        let read = Claim::of_text(&whole.to_text().unwrap()).unwrap();
        assert_eq!(read, whole);
        let networks: Vec<String> =
            (0..2_000).map(|number| format!("10.{}.{}.1", number / 250, number % 250)).collect();
        let long = format!("delay 5ms egress; drop to {}", networks.join(", "));
        let long = claim("pod:shop/web-0", &[1, 2, 3], &long);
        let text = long.to_text().unwrap();
        let read = Claim::of_text(&text).unwrap();
        assert!(text.len() <= CLAIM_BYTES, "{}", text.len());
        assert_eq!(read.faults, long.faults[..1]);
        assert_eq!(read.cut, Some(Cut { is_asked: false, began: NOW / 2 }));
        // What was cut has its clock all the same.
        assert_eq!(read.clocks().of(&long.faults[1].fault), Some(FaultClock::since(NOW / 2)));
        let held = claim("a", &[1, 2], &format!("delay 5ms egress to {}", networks.join(", ")));
        assert_eq!(Cut::of(&held.faults), Cut { is_asked: true, began: NOW / 2 });
        assert_eq!(Claim::of_text("anything"), None);
        let mut hostile = claim("a\u{1b}[2J", &[1], "drop");
        hostile.by = "process 1\n\u{9b}31m".to_owned();
        let read = Claim::of_text(&serde_json::to_string(&hostile).unwrap()).unwrap();
        assert_eq!((read.id.as_str(), read.by.as_str()), ("a[2J", "process 131m"));
    }
}
