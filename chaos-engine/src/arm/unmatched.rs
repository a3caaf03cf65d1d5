//! Says why nothing has matched a fault that was in force, as far as its sentence tells.

use std::time::Duration;

use chaos_fault::{Direction, Fault, Peer, Protocol, Side};
use chaos_plan::PlannedRule;

/// How long a fault has to be in force before it is remarked on that nothing has matched it, where it goes
/// on.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of the target of a rule.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct About<'a> {
    /// What NAT was found to have done to the addresses of the rule: the likeliest reason.
    pub nat: Option<&'a str>,
    /// No process is in it now.
    pub is_empty: bool,
    /// It is a cgroup that people move processes into by hand.
    pub may_have_been_moved: bool,
}

const NAT: &str = "NAT in the target's network namespace has put another address and port in before packets \
                   are matched: name those";

const MOVED: &str = "sockets that were open before their process was moved into this cgroup stay outside: start \
                     it again inside";

/// So many reasons are told: more do not make the right one easier to find.
const MOST: usize = 3;

/// For how long (ns) a rule that acts from `starts` to `ends` has been able to count by `now`, where its
/// counts begin at `counted_since`: moments of the boot clock, ns.
pub(super) fn in_force(starts: u64, ends: u64, counted_since: u64, now: u64) -> u64 {
    ends.min(now).saturating_sub(starts.max(counted_since))
}

/// Whether `rule` meets only what `before`, a rule of the same target in front of it that has hit something,
/// leaves: then what would have matched may never have come to it.
pub(super) fn is_behind(rule: &PlannedRule, before: &PlannedRule) -> bool {
    let shares_means = before.hooks.iter().any(|hook| rule.hooks.contains(hook))
        || before.calls.iter().any(|call| rule.calls.iter().any(|own| own.number == call.number));
    !before.fault.shadow && before.action.stage() == rule.action.stage() && shares_means
}

/// The likely reasons, the likeliest first, with `; or ` between them. `before` is the sentence of a rule that
/// it [is behind](is_behind).
pub(super) fn reasons(rule: &PlannedRule, before: Option<&Fault>, about: About<'_>) -> String {
    let fault = &rule.fault;
    let mut reasons: Vec<String> = Vec::new();
    if let Some(before) = before {
        reasons.push(format!("`{before:#}` is asked before it and hits the same"));
    }
    if let Some(name) = fault.verb.dns_name() {
        reasons.extend(of_questions(name));
    } else if fault.verb.acts_on_packets() {
        reasons.extend(of_packets(fault));
        if about.may_have_been_moved {
            // Likelier than what is behind it, whatever the sentence says.
            reasons.insert(reasons.len().min(1), MOVED.to_owned());
        }
    } else {
        reasons.extend(of_calls(rule));
    }
    if let Some(nat) = about.nat {
        reasons.retain(|reason| reason != NAT);
        reasons.insert(0, nat.to_owned());
    }
    reasons.truncate(MOST);
    if about.is_empty {
        reasons.push("no process is in the target now".to_owned());
    }
    reasons.join("; or ")
}

fn of_packets(fault: &Fault) -> Vec<String> {
    let mut reasons: Vec<String> =
        fault.peer.iter().filter_map(|peer| of_side(fault, peer)).collect();
    let names_what_is_called =
        fault.peer.as_ref().is_some_and(|peer| peer.side != Side::From && !peer.ports.is_empty());
    let has_addresses = fault.peer.as_ref().is_some_and(Peer::has_addresses);
    let leaves = fault.directions().contains(&Direction::Egress);
    if leaves && (has_addresses || names_what_is_called) {
        reasons.push(NAT.to_owned());
    }
    let has_ports = fault.peer.as_ref().is_some_and(|peer| !peer.ports.is_empty());
    if !has_ports && matches!(fault.protocol, None | Some(Protocol::Icmp)) {
        reasons.push("a ping from outside is answered by the kernel, not by the target".to_owned());
    }
    reasons.extend(of_protocol(fault));
    reasons.push(
        "the target sent and received nothing of the kind: another process may do that in its place, such as \
         a proxy"
            .to_owned(),
    );
    reasons
}

/// Which way the packets of a peer go, where they may have been expected to go another one.
fn of_side(fault: &Fault, peer: &Peer) -> Option<String> {
    let place = format!("{peer:#}");
    let (side, place) = place.split_once(' ')?;
    let is_port = !peer.has_addresses();
    let said = fault.direction.map(|direction| format!("{direction} ")).unwrap_or_default();
    match (peer.side, fault.directions()) {
        (Side::To, [Direction::Egress]) if is_port => Some(format!(
            "`{said}{side} {place}` is what leaves for {place} of others: for the target's own write \
             `ingress to {place}` for what arrives there, `egress from {place}` for its answers"
        )),
        (Side::From, [Direction::Ingress]) if is_port => Some(format!(
            "`{said}{side} {place}` is what arrives from {place} of others: for the target's own write \
             `egress from {place}` for what it sends, `ingress to {place}` for what arrives there"
        )),
        (Side::To, [Direction::Ingress]) if is_port => Some(format!(
            "`ingress to {place}` is what arrives for the target's own {place}: write `to {place}` for what \
             leaves for that of others"
        )),
        (Side::From, [Direction::Egress]) if is_port => Some(format!(
            "`egress from {place}` is what leaves from the target's own {place}: write `from {place}` for \
             what arrives from that of others"
        )),
        (Side::To, [Direction::Egress]) => Some(format!(
            "`{said}{side}` is what leaves: write `from {place}` for what arrives from there"
        )),
        (Side::From, [Direction::Ingress]) => Some(format!(
            "`{said}{side}` is what arrives: write `to {place}` for what leaves for there"
        )),
        (Side::To, _) => {
            Some("`ingress to` is what arrives for an address of the target's own".to_owned())
        }
        (Side::From, _) => {
            Some("`egress from` is what leaves from an address of the target's own".to_owned())
        }
        (Side::Either, _) => None,
    }
}

fn of_protocol(fault: &Fault) -> Option<String> {
    match fault.protocol? {
        Protocol::Tcp => Some("it goes over udp, as HTTP/3 and most of the DNS do".to_owned()),
        Protocol::Udp => Some("it goes over tcp".to_owned()),
        Protocol::Icmp => None,
    }
}

fn of_questions(name: &str) -> Vec<String> {
    let mut reasons = vec![
        "the answer was in a cache: of the program, or of a resolver that asks in its place"
            .to_owned(),
        "the question went over TCP, TLS or HTTPS".to_owned(),
    ];
    if !name.starts_with('*') {
        reasons.insert(
            1,
            format!(
                "not `{name}` itself was asked for, as resolvers append the suffixes of their search list: \
                 write the whole name, or `*`"
            ),
        );
    }
    reasons
}

fn of_calls(rule: &PlannedRule) -> Vec<String> {
    let fault = &rule.fault;
    let mut reasons = Vec::new();
    if let Some(path) = &fault.under {
        reasons
            .push(format!("`{path}` is not there, or the target knows its files by another path"));
    }
    if fault.peer.as_ref().is_some_and(|peer| peer.side != Side::From) {
        reasons.push(
            "another address or port was in the call: the one that the program is configured with counts, \
             before any NAT"
                .to_owned(),
        );
    }
    reasons.extend(of_protocol(fault));
    for call in fault.verb.calls() {
        let reason = match call.name() {
            "connect" => {
                "the target uses connections that were open before, as pools and keep-alive do"
            }
            "bind" | "listen" | "socket" | "open" | "openat" => {
                "the target had done it when the fault began, as servers do at their start"
            }
            "sendto" | "sendmsg" | "sendmmsg" if !rule.hooks.is_empty() => {
                "only datagrams whose address is in the call are seen, not TCP and not connected sockets"
            }
            "read" | "write" => "it goes by a memory map or io_uring, which not every hook sees",
            _ => continue,
        };
        if reasons.iter().all(|before| before != reason) {
            reasons.push(reason.to_owned());
        }
    }
    reasons.push(
        "the target makes another call for it: `strace -f -c` shows which it makes".to_owned(),
    );
    reasons
}

#[cfg(test)]
mod tests {
    use chaos_fault::shortened;
    use chaos_plan::{KernelFeatures, Terms, plan};

    use super::*;

    fn rules(text: &str) -> Vec<PlannedRule> {
        let faults: Vec<Fault> =
            chaos_fault::parse(text).unwrap().into_iter().map(|sentence| sentence.fault).collect();
        let plan = plan(&faults, &KernelFeatures::everything("6.12.0"), &Terms::default());
        assert!(plan.refused.is_empty(), "{:?}", plan.refused);
        plan.rules
    }

    const PING: &str = "a ping from outside is answered by the kernel";
    const NOTHING: &str = "the target sent and received nothing of the kind";
    const CALL: &str = "the target makes another call";

    /// Beginnings of the reasons, in their order.
    const TABLE: &[(&str, &[&str])] = &[
        (
            "drop to port 8080",
            &[
                "`to port 8080` is what leaves for port 8080 of others: for the target's own write `ingress \
               to port 8080` for what arrives there, `egress from port 8080` for its answers",
                NAT,
                NOTHING,
            ],
        ),
        (
            "reset from port 9100",
            &[
                "`from port 9100` is what arrives from port 9100 of others: for the target's own write \
               `egress from port 9100`",
                NOTHING,
            ],
        ),
        (
            "drop ingress to port 22",
            &["`ingress to port 22` is what arrives for the target's own", NOTHING],
        ),
        (
            "drop egress udp from port 53",
            &[
                "`egress from port 53` is what leaves from the target's own",
                "it goes over tcp",
                NOTHING,
            ],
        ),
        (
            "drop egress to port 80",
            &["`egress to port 80` is what leaves for port 80 of others", NAT, NOTHING],
        ),
        (
            "delay 300ms to 10.96.0.10",
            &["`to` is what leaves: write `from 10.96.0.10` for what arrives", NAT, PING],
        ),
        (
            "reset tcp to 10.96.0.10 port 80",
            &[
                "`to` is what leaves: write `from 10.96.0.10 port 80` for what",
                NAT,
                "it goes over udp",
            ],
        ),
        ("drop from 10.0.0.0/8", &["`from` is what arrives: write `to 10.0.0.0/8`", PING, NOTHING]),
        ("drop egress from 10.0.0.1", &["`egress from` is what leaves from an address", NAT, PING]),
        (
            "drop ingress to 10.0.0.1",
            &["`ingress to` is what arrives for an address", PING, NOTHING],
        ),
        ("delay 200ms", &[PING, NOTHING]),
        ("drop icmp", &[PING, NOTHING]),
        ("drop tcp", &["it goes over udp", NOTHING]),
        ("drop port 53", &[NAT, NOTHING]),
        (
            "fail dns with NXDOMAIN for db",
            &[
                "the answer was in a cache",
                "not `db` itself was asked for",
                "the question went over TCP",
            ],
        ),
        ("delay dns by 1s for *", &["the answer was in a cache", "the question went over TCP"]),
        (
            "fail connect with ECONNREFUSED tcp to 10.77.0.2 port 80",
            &[
                "another address or port was in the call",
                "it goes over udp",
                "the target uses connections",
            ],
        ),
        ("fail connect with EIO", &["the target uses connections that were open before", CALL]),
        ("fail bind, socket with EIO", &["the target had done it when the fault began", CALL]),
        ("fail sendto with EIO", &["only datagrams whose address is in the call", CALL]),
        (
            "fail write, read with ENOSPC under /var/lib/app",
            &["`/var/lib/app` is not there", "it goes by a memory map or io_uring", CALL],
        ),
        ("fail fsync with EIO", &[CALL]),
        ("kill accept", &[CALL]),
    ];

    #[test]
    fn each_sentence_has_its_reasons() {
        for (text, expected) in TABLE {
            let told = reasons(&rules(text)[0], None, About::default());
            let told: Vec<&str> = told.split("; or ").collect();
            assert_eq!(told.len(), expected.len(), "{text}: {told:?}");
            for (reason, beginning) in told.iter().zip(*expected) {
                assert!(reason.starts_with(beginning), "{text}: {reason}");
            }
        }
    }

    /// What is proposed in place of a clause is a sentence.
    #[test]
    fn what_is_to_be_written_can_be_written() {
        for (text, _) in TABLE {
            let told = reasons(&rules(text)[0], None, About::default());
            for clause in told.split("rite `").skip(1).filter_map(|rest| rest.split('`').next()) {
                let sentence = format!("drop {clause}");
                assert_eq!(shortened(&sentence), sentence, "{text}");
                rules(&sentence);
            }
        }
    }

    #[test]
    fn a_rule_that_hits_the_same_before_it_comes_first() {
        let behind = |text| {
            let rules = rules(text);
            is_behind(&rules[1], &rules[0])
        };
        assert!(behind("drop tcp; drop to port 80"));
        assert!(behind("fail connect with EIO; fail connect, bind with EPERM"));
        assert!(!behind("shadow drop tcp; drop to port 80"), "it lets everything pass");
        assert!(!behind("drop egress; drop ingress"));
        assert!(!behind("duplicate; delay 1ms"), "each is asked by itself");
        let rules = rules("drop tcp; drop to port 80");
        let told = reasons(&rules[1], Some(&rules[0].fault), About::default());
        assert!(
            told.starts_with("`drop tcp` is asked before it and hits the same; or `to"),
            "{told}"
        );
        assert_eq!(told.matches("; or ").count() + 1, MOST);
    }

    #[test]
    fn it_counts_from_when_it_acts_and_counts() {
        // It begins at 100 and ends at 200.
        for (counted_since, now, expected) in [
            (90, 100, 0),
            (90, 150, 50),
            (90, 300, 100),
            (120, 150, 30),
            (120, 90, 0),
            (250, 300, 0),
        ] {
            assert_eq!(in_force(100, 200, counted_since, now), expected, "{counted_since} {now}");
        }
    }
}
