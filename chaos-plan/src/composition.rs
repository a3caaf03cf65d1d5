//! Which faults can be armed apart from each other by two processes on one target, or on a target and one above it. Each
//! arming has programs of its own, which see a frame one after the other. (Texts of one process on one target are asked
//! by one program, and go together whatever they say.)
//!
//! A frame that leaves shows whose it is by its socket. Once a delay line has held it it has none any
//! more, and neither has a copy: programs that come later take it for nobody's. So of two armings that
//! hold or copy what leaves, one would not do what it says. Those that do neither are asked before
//! those that do, whichever was armed first ([`Position`]), and miss nothing. What arrives is
//! known by its addresses, so there each arming sees what the others hold and copy. But copies of copies
//! double with each arming, so what arrives is copied by one arming only.

use chaos_fault::{Direction, Fault, PortRange, Protocol, Side, Verb};

/// Where among the programs at an interface those of an arming are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Position {
    /// Before the others: nothing that leaves is taken out of their sight.
    #[default]
    First,
    /// Behind the others.
    Last,
}

impl Position {
    /// The position of an arming with these faults.
    pub fn of<'a>(faults: impl IntoIterator<Item = &'a Fault>) -> Self {
        if faults.into_iter().any(takes) { Self::Last } else { Self::First }
    }
}

/// The first two faults, by their indices, of which one would not do what it says if these texts were
/// armed apart on one target. It does not matter which is armed first.
pub fn clash(armed: &[Fault], asked: &[Fault]) -> Option<(usize, usize)> {
    let first = |clashes: &dyn Fn(&Fault, &Fault) -> bool| {
        armed.iter().enumerate().find_map(|(first, one)| {
            let second =
                asked.iter().position(|other| may_meet(one, other) && clashes(one, other))?;
            Some((first, second))
        })
    };
    let copy_both = first(&|one, other| {
        let arrives = |fault: &Fault| fault.directions().contains(&Direction::Ingress);
        copies(one) && copies(other) && arrives(one) && arrives(other)
    });
    let positions = [Position::of(armed), Position::of(asked)];
    if copy_both.is_some() || positions != [Position::Last; 2] {
        return copy_both;
    }
    let are_asked = |one: &Fault, other: &Fault| is_asked(one) && is_asked(other);
    // Two that both hold or copy say best what is wrong.
    first(&|one, other| are_asked(one, other) && takes(one) && takes(other))
        .or_else(|| first(&|one, other| are_asked(one, other) && (takes(one) || takes(other))))
}

/// Whether a text with these faults clashes with any other at all: not if it neither holds nor copies.
pub fn can_clash<'a>(faults: impl IntoIterator<Item = &'a Fault>) -> bool {
    faults.into_iter().any(|fault| copies(fault) || takes(fault))
}

/// Whether it makes copies.
fn copies(fault: &Fault) -> bool {
    matches!(fault.verb, Verb::Duplicate) && !fault.shadow
}

/// Whether it is asked about frames that leave.
pub fn is_asked(fault: &Fault) -> bool {
    let is_of_frames = match fault.verb {
        Verb::Corrupt { .. }
        | Verb::Delay(_)
        | Verb::DelayDns { .. }
        | Verb::Duplicate
        | Verb::Reorder { .. }
        | Verb::Limit { .. }
        | Verb::Reset
        | Verb::FailDns { .. } => true,
        // The sockets of the target are asked themselves, before there is a frame.
        Verb::Drop
        | Verb::Fail { .. }
        | Verb::Slow { .. }
        | Verb::Kill { .. }
        | Verb::KillContainer
        | Verb::SkewClock { .. } => false,
    };
    is_of_frames && fault.directions().contains(&Direction::Egress)
}

/// Whether what leaves, or a copy of it, is nobody's afterwards.
fn takes(fault: &Fault) -> bool {
    let holds_or_copies = match fault.verb {
        Verb::Delay(_)
        | Verb::DelayDns { .. }
        | Verb::Duplicate
        | Verb::Reorder { .. }
        | Verb::Limit { .. } => true,
        Verb::Drop
        | Verb::Corrupt { .. }
        | Verb::Reset
        | Verb::Fail { .. }
        | Verb::FailDns { .. }
        | Verb::Slow { .. }
        | Verb::Kill { .. }
        | Verb::KillContainer
        | Verb::SkewClock { .. } => false,
    };
    holds_or_copies && !fault.shadow && fault.directions().contains(&Direction::Egress)
}

/// Whether there may be a packet that both speak of.
fn may_meet(one: &Fault, other: &Fault) -> bool {
    let protocol = |fault: &Fault| match fault.verb.dns_name() {
        Some(_) => Some(Protocol::Udp),
        None => fault.protocol,
    };
    if let (Some(one), Some(other)) = (protocol(one), protocol(other))
        && one != other
    {
        return false;
    }
    let (Some(one), Some(other)) = (&one.peer, &other.peer) else {
        return true;
    };
    if one.side != other.side || one.side == Side::Either {
        return true;
    }
    let apart =
        |one: &PortRange, other: &PortRange| one.last < other.first || other.last < one.first;
    let ports = one.ports.is_empty()
        || other.ports.is_empty()
        || one.ports.iter().any(|one| other.ports.iter().any(|other| !apart(one, other)));
    // Where the pods are that are named may change, and what a name stands for.
    let networks = one.networks.is_empty()
        || other.networks.is_empty()
        || !one.pods.is_empty()
        || !other.pods.is_empty()
        || !one.names.is_empty()
        || !other.names.is_empty()
        || one.networks.iter().any(|one| {
            other.networks.iter().any(|other| one.contains(other) || other.contains(one))
        });
    ports && networks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<Fault> {
        chaos_fault::parse(text).unwrap().into_iter().map(|sentence| sentence.fault).collect()
    }

    fn clashes(one: &str, other: &str) -> bool {
        let (one, other) = (faults(one), faults(other));
        let found = clash(&one, &other).is_some();
        assert_eq!(clash(&other, &one).is_some(), found, "either way");
        assert!(!found || can_clash(&one) && can_clash(&other), "both know that they can");
        found
    }

    const TAKERS: [&str; 5] = [
        "delay 5ms egress udp",
        "reorder by 5ms egress udp",
        "limit 1mbit egress udp",
        "duplicate egress udp",
        "delay dns 5ms for *.example.com",
    ];
    const OTHERS: [&str; 7] = [
        "corrupt 1% egress",
        "corrupt silent 1% egress",
        "reset egress",
        "fail dns with TIMEOUT for *.example.com",
        "drop 1%",
        "fail connect with ECONNREFUSED",
        "shadow delay 5ms egress",
    ];

    #[test]
    fn two_that_hold_or_copy_what_leaves_clash() {
        for one in TAKERS {
            for other in TAKERS {
                assert!(clashes(one, other), "{one} and {other}");
            }
        }
    }

    #[test]
    fn others_go_with_everything() {
        for one in OTHERS {
            assert!(!can_clash(&faults(one)), "{one}");
            for other in TAKERS.into_iter().chain(OTHERS) {
                assert!(!clashes(one, other), "{one} and {other}");
            }
        }
    }

    #[test]
    fn what_arrives_goes_with_everything_but_is_copied_once() {
        for one in ["delay 5ms ingress", "duplicate ingress", "limit 1mbit from 10.0.0.0/8"] {
            for other in TAKERS.into_iter().chain(["delay 5ms ingress", "duplicate ingress"]) {
                let are_copies = [one, other] == ["duplicate ingress"; 2];
                assert_eq!(clashes(one, other), are_copies, "{one} and {other}");
            }
        }
        assert!(clashes("delay 5ms", "duplicate"), "both ways");
        assert!(clashes("duplicate", "duplicate ingress udp"));
        assert!(!clashes("duplicate ingress tcp", "duplicate ingress udp"));
        assert!(!clashes("duplicate ingress", "shadow duplicate ingress"));
    }

    #[test]
    fn what_never_meets_does_not_clash() {
        for (one, other, expected) in [
            ("delay 5ms egress tcp", "delay 5ms egress udp", false),
            ("delay 5ms egress tcp", "delay 5ms egress", true),
            ("delay 5ms tcp to port 80", "delay 5ms tcp to port 443", false),
            ("delay 5ms tcp to port 80", "delay 5ms tcp to port 79-81", true),
            ("delay 5ms to port 80", "delay 5ms egress from port 443", true),
            ("delay 5ms egress port 80", "delay 5ms egress port 443", true),
            ("delay 5ms to 10.0.0.0/8", "delay 5ms to 192.0.2.1", false),
            ("delay 5ms to 10.0.0.0/8", "delay 5ms to 10.1.0.0/16", true),
            ("delay dns 5ms for a.example", "duplicate egress tcp", false),
        ] {
            assert_eq!(clashes(one, other), expected, "{one} and {other}");
        }
    }

    /// An arming that holds is asked behind the others with all that it has.
    #[test]
    fn what_stands_beside_one_that_holds_counts() {
        let beside = "corrupt egress udp; delay 5ms egress tcp";
        assert!(clashes(beside, "duplicate egress udp"));
        assert!(!clashes("corrupt egress udp", "duplicate egress udp"));
        let (armed, asked) = (faults(beside), faults("drop; duplicate egress udp"));
        assert_eq!(clash(&armed, &asked), Some((0, 1)));
    }
}
