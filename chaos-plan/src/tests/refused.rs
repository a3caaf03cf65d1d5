use chaos_fault::{Direction, Peer, Side, Verb};
use ipnet::IpNet;

use super::*;

/// Reason and remedy of the refusal of the only fault.
fn refusal(fault: Fault, features: &KernelFeatures, terms: &Terms) -> (String, String) {
    let sentence = fault.to_string();
    let mut plan = plan(&[fault], features, terms);
    assert_eq!(plan.rules, [], "{sentence}");
    let Refusal { reason, remedy, .. } = plan.refused.remove(0);
    (reason, remedy.unwrap_or_default())
}

fn refused(text: &str) -> (String, String) {
    refusal(fault(text), &KernelFeatures::everything("6.12.0"), &Terms::default())
}

#[test]
fn verbs_that_come_later_say_what_they_need() {
    for (text, reason) in [
        ("slow connect by 1ms", "`slow` needs the syscall backend"),
        ("skew clock by +1d", "`skew clock` needs the tracing programs that hide the vDSO"),
    ] {
        assert_eq!(refused(text).0, format!("{reason}, which this version does not have"));
    }
}

#[test]
fn calls_are_refused_with_the_reason() {
    for (text, reason, remedy) in [
        (
            "fail accept with EIO tcp",
            "what answers `accept` cannot tell calls apart by a protocol",
            "leave the clause out: the fault is for every such call of the target",
        ),
        (
            "kill connect to port 80",
            "what answers `connect` cannot tell calls apart by an address or a port",
            "leave the clause out: the fault is for every such call of the target",
        ),
        (
            "fail bind with EIO to 10.0.0.1",
            "`bind` has no peer: the address in the call is the socket's own",
            "write `from` for the address that is bound, or only `port N`",
        ),
        (
            "fail connect with EIO from 10.0.0.1",
            "the socket's own address is not known yet when `connect` is called",
            "write `to` for the address that is called",
        ),
        (
            "fail sendmmsg with EIO from port 53",
            "the socket's own address is not known yet when `sendmmsg` is called",
            "write `to` for the address that is called",
        ),
        (
            "fail sendto with EIO tcp",
            "the kernel's hook for `sendto` sees udp, not tcp",
            "`drop egress tcp` loses what is sent",
        ),
    ] {
        assert_eq!(refused(text), (reason.to_owned(), remedy.to_owned()), "{text}");
    }
}

#[test]
fn what_seccomp_cannot_do_is_refused() {
    let missing = Support::Missing { reason: "denied".to_owned(), remedy: "CONFIG_A".to_owned() };
    let features = KernelFeatures::everything("6.1.0").with(Backend::Entry, missing.clone());
    let reason = |text, features| refusal(fault(text), features, &Terms::default()).0;
    assert!(
        reason("fail exit_group with EIO", &features)
            .ends_with("seccomp: a process that waits for an answer there could not end"),
    );
    let without = features.clone().with(Backend::Seccomp, missing);
    assert_eq!(
        reason("fail unlinkat with EIO under /data", &without),
        "nothing here answers `unlinkat`: fmod_ret/security: what is asked there about `unlinkat` \
         does not know the file; fmod_ret/sys: denied; seccomp: denied",
    );
    assert_eq!(
        reason("fail read with EIO under /data/*.db", &without),
        "`under /data/*.db`: programs in the kernel go by plain paths, not by patterns",
    );
}

#[test]
fn the_break_tells_of_no_other_errno() {
    let missing = Support::Missing { reason: "no listener".to_owned(), remedy: String::new() };
    let features = KernelFeatures::everything("6.12.0").with(Backend::Seccomp, missing);
    let (reason, remedy) =
        refusal(fault("fail mmap, brk with ENOMEM, EIO"), &features, &Terms::default());
    assert_eq!(reason, "`brk` cannot fail with EIO: all it can do is not to move the break");
    assert_eq!(remedy, "write `fail brk with ENOMEM`, which is what libraries make of that");
}

#[test]
fn every_backend_says_why_it_does_not_answer() {
    let missing = |reason: &str, remedy: &str| Support::Missing {
        reason: reason.to_owned(),
        remedy: remedy.to_owned(),
    };
    let features = KernelFeatures::everything("6.1.0")
        .with(Backend::Entry, missing("not modifiable", "CONFIG_A"))
        .with(Backend::Seccomp, missing("no listener", "start it with `run`"));
    let (reason, remedy) = refusal(fault("fail getpid with EIO"), &features, &Terms::default());
    assert_eq!(
        reason,
        "nothing here answers `getpid`: fmod_ret/sys: not modifiable; fmod_ret/security: `getpid` \
         passes no security function; seccomp: no listener"
    );
    assert_eq!(remedy, "CONFIG_A; or start it with `run`");
}

#[test]
fn clauses_are_refused_with_the_reason() {
    for (text, reason, remedy) in [
        (
            "fail dns with REFUSED for * tcp",
            "`fail dns` sees questions over udp, not over tcp",
            "`drop egress tcp to port 53` lets those over tcp time out",
        ),
        (
            "delay dns by 1s for * tcp",
            "`delay dns` sees questions over udp, not over tcp",
            "`drop egress tcp to port 53` lets those over tcp time out",
        ),
        (
            "drop to pod payments/db",
            "`pod payments/db`: where pods are is known to the agent of a node, for faults in annotations",
            "write the pod's address, such as `to 10.244.0.7`",
        ),
        (
            "drop to 10.0.0.0/8, @db",
            "`@db`: such names are known in an Experiment alone",
            "write addresses, such as `to 10.96.0.12`, or put the fault into an Experiment",
        ),
        (
            "delay from file latencies.txt",
            "`from file latencies.txt`: files of latencies are read by the command line, never by an \
             agent for others",
            "write the latencies out: `delay 1ms, 2ms*3, 40ms`",
        ),
        (
            "delay 1ms, 2m",
            "packets are held for up to 2m, and 1m is the longest",
            "`drop` loses them: nobody waits that long",
        ),
        (
            "corrupt silent icmp",
            "`corrupt silent` repairs the checksum of tcp and udp only, not of icmp",
            "write `corrupt` without `silent`: the receiver discards the packet",
        ),
        (
            "drop for 2h",
            "`for 2h` is longer than the longest allowed, 1h",
            "write `for 1h` or less, or allow more by `--longest` of `run`, `inject` or the agent",
        ),
        (
            "drop in container db",
            "`in container db`: the target is not a pod",
            "leave `in container` out: the fault is for the whole target",
        ),
        (
            "fail connect with EPERM, ENOENT, ESRCH, EINTR, EIO, ENXIO, E2BIG, ENOEXEC, EBADF",
            "9 errnos to pick from, and a rule has room for 8",
            "split the fault in two, each with its share of the chance",
        ),
    ] {
        assert_eq!(refused(text), (reason.to_owned(), remedy.to_owned()), "{text}");
    }
    let in_db = |scope| {
        let terms = Terms { scope, ..Terms::default() };
        let features = KernelFeatures::everything("6.12.0");
        refusal(fault("drop in container db"), &features, &terms).0
    };
    assert_eq!(
        in_db(Scope::Pod),
        "`in container db`: no such container is known in the target pod"
    );
    let web = Scope::Container("web".to_owned());
    assert_eq!(in_db(web), "`in container db`: the target is the container `web`");
}

#[test]
fn faults_that_are_not_well_formed_never_reach_the_kernel() {
    let drop = Fault::new(Verb::Drop);
    let to_nobody = Peer {
        side: Side::To,
        networks: BTreeSet::new(),
        pods: Default::default(),
        names: Default::default(),
        ports: Vec::new(),
    };
    for (fault, reason) in [
        (
            Fault { under: Some("/data".to_owned()), ..drop.clone() },
            "`drop` is about packets, which have no path",
        ),
        (Fault { at_most: Some(0), ..drop.clone() }, "would never do anything"),
        (
            Fault { direction: Some(Direction::Egress), ..fault("fail connect with EIO") },
            "`fail` is about calls, which have no direction",
        ),
        (
            Fault { peer: fault("drop port 5").peer, ..fault("fail socket with EIO") },
            "`socket` has no peer",
        ),
        (Fault { peer: Some(to_nobody), ..drop.clone() }, "the peer has neither network nor port"),
    ] {
        let features = KernelFeatures::everything("6.12.0");
        assert_eq!(refusal(fault, &features, &Terms::default()).0, reason);
    }
}

#[test]
fn a_missing_hook_is_named_with_what_the_kernel_said() {
    let missing = |hook, remedy: &str| {
        let reason = "BPF_LINK_CREATE: invalid argument".to_owned();
        let support = Support::Missing { reason, remedy: remedy.to_owned() };
        KernelFeatures::everything("6.1.0").with(hook, support)
    };
    let features = missing(Hook::TcxEgress, "run kernel 6.6 or newer");
    let terms = Terms::default();
    let planned = plan(&[fault("corrupt")], &features, &terms);
    assert_eq!(planned.rules[0].hooks, [Hook::TcxIngress, Hook::ClsactEgress]);
    let reason = "RTM_NEWQDISC: not supported".to_owned();
    let remedy = "a kernel with CONFIG_NET_SCH_INGRESS".to_owned();
    let features = features.with(Hook::ClsactEgress, Support::Missing { reason, remedy });
    assert_eq!(
        refusal(fault("corrupt egress"), &features, &terms),
        (
            "`corrupt` needs tcx/egress, which kernel 6.1.0 does not offer: BPF_LINK_CREATE: \
             invalid argument; nor clsact/egress: RTM_NEWQDISC: not supported"
                .to_owned(),
            "run kernel 6.6 or newer, or a kernel with CONFIG_NET_SCH_INGRESS".to_owned(),
        )
    );
    assert_eq!(plan(&[fault("corrupt ingress")], &features, &terms).refused, []);
    let features = missing(Hook::Connect6, "run kernel 5.18 or newer");
    let (reason, remedy) = refusal(fault("fail connect with EIO port 80"), &features, &terms);
    assert!(reason.starts_with("`fail` needs cgroup/connect6, which kernel 6.1.0"), "{reason}");
    assert_eq!(remedy, "run kernel 5.18 or newer");
}

#[test]
fn nothing_is_held_without_a_delay_line_or_for_longer_than_it_does() {
    let missing = |reason: &str, option: &str| Support::Missing {
        reason: reason.into(),
        remedy: format!("a kernel with {option}"),
    };
    let features = KernelFeatures::everything("6.12.0")
        .with(DelayLine::Fq, missing("add fq: not found", "CONFIG_NET_SCH_FQ"))
        .with(DelayLine::Tap, missing("open /dev/net/tun: not found", "CONFIG_TUN"));
    for word in ["delay", "reorder", "delay dns for *"] {
        let (reason, remedy) =
            refusal(fault(&format!("{word} by 1s")), &features, &Terms::default());
        let needs = "needs a delay line, which cannot be had: fq: add fq: not found; nor tap: open \
                     /dev/net/tun: not found";
        let remedies =
            "for fq: a kernel with CONFIG_NET_SCH_FQ, or for tap: a kernel with CONFIG_TUN";
        let verb = word.trim_end_matches(" dns for *");
        assert_eq!((reason, remedy.as_str()), (format!("`{verb}` {needs}"), remedies));
        let (reason, _) = refused(&format!("{word} by 1m1s"));
        assert_eq!(reason, "packets are held for up to 1m1s, and 1m is the longest");
    }
    let (reason, _) = refusal(fault("limit 1mbit"), &features, &Terms::default());
    assert!(reason.starts_with("`limit` needs a delay line"), "{reason}");
    assert!(refused("limit 9999bit").0.contains("more than a minute at this rate"));
    assert_eq!(plan(&[fault("corrupt")], &features, &Terms::default()).refused, []);
}

#[test]
fn a_refusal_stops_no_other_fault() {
    let faults =
        [fault("slow connect by 1s"), fault("drop"), fault("skew clock by +1d"), fault("corrupt")];
    let plan = plan_all(&faults, &Terms::default());
    assert_eq!(plan.rules.iter().map(|rule| rule.index).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(plan.refused.iter().map(|refusal| refusal.index).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(
        plan.refused[0].to_string(),
        "`slow connect by 1s`: `slow` needs the syscall backend, which this version does not have"
    );
}

#[test]
fn rules_beyond_the_sixty_fourth_are_refused() {
    let faults = vec![fault("drop egress"); MAX_RULES + 2];
    let plan = plan_all(&faults, &Terms::default());
    assert_eq!(plan.rules.len(), MAX_RULES);
    assert_eq!(plan.refused.iter().map(|refusal| refusal.index).collect::<Vec<_>>(), [64, 65]);
    assert_eq!(plan.refused[0].reason, "a text takes at most 64 rules");
}

#[test]
fn tables_of_latencies_are_few_and_not_without_end() {
    let several = |index: u32| fault(&format!("delay 1ms, 2ms seed {index}"));
    let plan = plan_all(&(0..6).map(several).collect::<Vec<_>>(), &Terms::default());
    assert_eq!((plan.rules.len(), plan.refused.len()), (4, 2));
    let reason = "a text takes at most 4 faults with several latencies";
    assert_eq!(plan.refused[0].reason, reason);
    let list = |count: u32| {
        let list: Vec<String> = (1..=count).map(|us| format!("{us}us")).collect();
        plan_all(&[fault(&format!("delay {}", list.join(", ")))], &Terms::default()).refused
    };
    assert_eq!(list(1024), []);
    let reason = "1025 latencies to pick from, and a rule has room for 1024";
    assert_eq!(list(1025)[0].reason, reason);
}

#[test]
fn a_fault_that_overflows_the_tables_is_refused_and_the_next_is_not() {
    let many = |count: u32| {
        let networks = (0..count).map(|n| IpNet::from(IpAddr::from((n << 8).to_be_bytes())));
        let peer = Peer {
            side: Side::To,
            networks: networks.collect(),
            pods: Default::default(),
            names: Default::default(),
            ports: Vec::new(),
        };
        Fault { peer: Some(peer), ..Fault::new(Verb::Drop) }
    };
    let plan = plan_all(&[many(5000), many(5000), fault("drop to 10.0.0.1")], &Terms::default());
    assert_eq!(plan.rules.iter().map(|rule| rule.index).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(
        plan.refused[0].reason,
        "the fault needs 5000 IPv4 prefixes, and of 8192 only 3192 are left"
    );
}

#[test]
fn more_flows_than_can_be_counted_off_are_refused() {
    let faults =
        ["drop the first 2000 of flows", "drop the 40th of flows", "drop from the 50th of flows"];
    let plan = plan_all(&faults.map(fault), &Terms::default());
    assert_eq!(plan.rules.len(), 2);
    let [refusal] = &plan.refused[..] else { panic!("{:?}", plan.refused) };
    assert_eq!(refusal.index, 2);
    assert_eq!(refusal.reason, "the fault counts off 49 flows, and of 2048 only 8 are left");
    let alone = refusal_of_plan("drop the 3000th of flows");
    assert_eq!(alone, "the fault counts off 3000 flows, and a text has room for 2048");
}

#[test]
fn a_guard_that_nobody_looks_after_is_refused() {
    let faults = [fault("drop guarded"), fault("drop")];
    let plan = plan_all(&faults, &Terms::default());
    assert_eq!(plan.rules.len(), 1);
    let [refusal] = &plan.refused[..] else { panic!("{:?}", plan.refused) };
    assert!(refusal.reason.contains("the agent of a Kubernetes node alone"), "{refusal}");
    assert!(refusal.remedy.as_ref().is_some_and(|remedy| remedy.contains("leave `guarded` out")));
    let has_guard = Terms { has_guard: true, ..Terms::default() };
    assert_eq!(plan_all(&faults, &has_guard).refused, []);
}

#[test]
fn an_end_that_has_passed_is_refused_where_the_fault_is_new() {
    let faults = [fault("drop until 2026-11-28T10:14:00Z")];
    let at = |now: &str| Terms { now: Some(now.parse().unwrap()), ..Terms::default() };
    assert_eq!(plan_all(&faults, &Terms::default()).refused, []);
    assert_eq!(plan_all(&faults, &at("2026-11-28T10:13:59.9Z")).refused, []);
    for (now, ago) in [("2026-11-28T10:14:00Z", "1s"), ("2026-11-28T11:15:00.5Z", "1h1m")] {
        let plan = plan_all(&faults, &at(now));
        let [refusal] = &plan.refused[..] else { panic!("{:?}", plan.refused) };
        let reason = format!("`until 2026-11-28T10:14:00Z` passed {ago} ago");
        assert_eq!(refusal.reason, reason);
        assert!(refusal.remedy.as_ref().is_some_and(|remedy| remedy.contains("lies ahead")));
    }
}

fn refusal_of_plan(text: &str) -> String {
    plan_all(&[fault(text)], &Terms::default()).refused[0].reason.clone()
}
