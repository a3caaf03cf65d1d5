use chaos_ebpf_common::{
    distribution::Shape,
    hold::{DEFAULT_QUEUE, Hold},
};

use super::*;

fn hooks(text: &str) -> String {
    rule(text).hooks.iter().map(|hook| hook.program()).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_verb_that_can_be_done_has_its_hooks() {
    for (text, programs) in [
        ("drop", "skb_egress skb_ingress"),
        ("drop egress", "skb_egress"),
        ("drop from 10.0.0.0/8", "skb_ingress"),
        ("drop ingress to port 53", "skb_ingress"),
        ("drop port 53", "skb_egress skb_ingress"),
        ("corrupt to 10.0.0.1", "tcx_egress"),
        ("corrupt silent ingress udp", "tcx_ingress"),
        ("duplicate", "tcx_egress tcx_ingress"),
        ("reset 10% of flows tcp to port 6379", "tcx_egress"),
        ("fail dns with NXDOMAIN for *.example.com", "tcx_egress"),
        ("fail dns with TIMEOUT for * from 10.0.0.1", "tcx_egress"),
        ("delay dns by 1s for * from 10.0.0.1", "tcx_egress"),
        ("duplicate 2% from 10.0.0.1", "tcx_ingress"),
        ("delay 10ms", "tcx_egress tcx_ingress"),
        ("reorder 5% by 10ms egress", "tcx_egress"),
        ("fail connect with EIO", "connect4 connect6"),
        ("fail connect with EIO to 10.0.0.0/8", "connect4 connect6"),
        ("fail connect with EIO to fd00::/8", "connect6"),
        ("fail bind with EADDRINUSE port 80", "bind4 bind6"),
        ("fail bind with EADDRINUSE from ::1", "bind6"),
        ("fail sendto with EPERM", "sendmsg4 sendmsg6"),
        ("fail sendmsg with EPERM to 10.0.0.1", "sendmsg4"),
        ("fail sendmmsg with EPERM to ::1", "sendmsg6"),
        ("fail sendto, sendmsg with EPERM to 10.0.0.1, ::1", "sendmsg4 sendmsg6"),
        ("fail socket with EMFILE", "sock_create"),
        ("fail setsockopt with EPERM", "setsockopt"),
        ("fail getsockopt with EPERM to port 443", "getsockopt"),
        ("fail getsockopt, connect, socket with EIO", "connect4 connect6 sock_create getsockopt"),
    ] {
        assert_eq!(hooks(text), programs, "{text}");
    }
}

#[test]
fn actions_follow_the_verb() {
    assert_eq!(rule("drop").action, Action::Drop);
    assert_eq!(rule("corrupt").action, Action::Corrupt);
    assert_eq!(rule("corrupt silent").action, Action::CorruptSilently);
    assert_eq!(rule("fail connect with EIO").action, Action::Fail);
    assert_eq!(rule("kill accept").action, Action::Kill);
    assert_eq!(rule("duplicate").action, Action::Duplicate);
    assert_eq!(rule("reset").action, Action::Reset);
    for (answer, action) in [
        ("NXDOMAIN", Action::NxDomain),
        ("SERVFAIL", Action::ServFail),
        ("REFUSED", Action::Refused),
        ("TIMEOUT", Action::Silence),
    ] {
        assert_eq!(rule(&format!("fail dns with {answer} for *")).action, action);
    }
    assert_eq!(rule("delay 1s").action, Action::Delay);
    assert_eq!(rule("reorder by 1s").action, Action::Reorder);
}

#[test]
fn what_holds_packets_says_how_long() {
    let hold = |text: &str| rule(text).hold();
    let hold_of = |by, jitter, shape: Shape| {
        Some(Hold { by, jitter, shape: shape as u32, ..Hold::default() })
    };
    assert_eq!(hold("delay 10ms"), hold_of(10_000_000, 0, Shape::Uniform));
    assert_eq!(hold("delay 10ms jitter 2us"), hold_of(10_000_000, 2_000, Shape::Uniform));
    for (word, shape) in [
        ("uniform", Shape::Uniform),
        ("normal", Shape::Normal),
        ("pareto", Shape::Pareto),
        ("paretonormal", Shape::ParetoNormal),
    ] {
        let text = format!("delay 1s jitter 1ms {word}");
        assert_eq!(hold(&text), hold_of(1_000_000_000, 1_000_000, shape));
    }
    let text = "delay dns by 1s jitter 1ms pareto for *.example.com";
    assert_eq!(hold(text), hold_of(1_000_000_000, 1_000_000, Shape::Pareto));
    assert_eq!(hold("reorder by 1ms"), hold_of(1_000_000, 0, Shape::Uniform));
    let limit = |rate, queue| Hold { rate, queue, ..Hold::default() };
    assert_eq!(hold("limit 1.5mbit"), Some(limit(1_500_000, DEFAULT_QUEUE)));
    assert_eq!(hold("limit 1.5mbit queue 50ms"), Some(limit(1_500_000, 50_000_000)));
    assert_eq!(hold("limit 1mbit per flow"), Some(limit(1_000_000, DEFAULT_QUEUE)));
    assert_eq!(hold("drop"), None);
    let line = |text: &str| plan_all(&[fault(text)], &Terms::default()).line();
    assert_eq!(
        (line("delay 1s"), line("reorder by 1s")),
        (Some(DelayLine::Fq), Some(DelayLine::Fq))
    );
    assert_eq!((line("shadow delay 1s"), line("duplicate")), (None, None));
}

#[test]
fn frames_are_held_by_the_agent_where_the_kernel_has_no_queue() {
    let missing = Support::Missing { reason: "ENOENT".into(), remedy: "CONFIG_NET_SCH_FQ".into() };
    let features = KernelFeatures::everything("6.18.0").with(DelayLine::Fq, missing);
    let plan = plan(&[fault("limit 1mbit")], &features, &Terms::default());
    assert_eq!(plan.line(), Some(DelayLine::Tap));
    assert!(plan.rules[0].notes[0].contains("frames wait in the agent"), "{plan:?}");
}

fn calls(text: &str, features: &KernelFeatures) -> String {
    let mut plan = plan(&[fault(text)], features, &Terms::default());
    assert_eq!(plan.refused, [], "{text}");
    let calls = plan.rules.remove(0).calls;
    calls
        .iter()
        .map(|call| format!("{} {}", call.name, call.backend))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A kernel on which only this backend works, besides the cgroup hooks.
fn only(backend: Backend) -> KernelFeatures {
    let missing = Support::Missing { reason: "denied".to_owned(), remedy: String::new() };
    Backend::ALL
        .into_iter()
        .filter(|other| *other != backend)
        .fold(KernelFeatures::everything("6.12.0"), |features, other| {
            features.with(other, missing.clone())
        })
}

#[test]
fn calls_go_to_the_best_backend() {
    let everything = KernelFeatures::everything("6.12.0");
    for (text, features, expected) in [
        ("fail openat with EIO", &everything, "openat fmod_ret/sys"),
        ("fail fsync with EIO", &everything, "fsync fmod_ret/sys, fdatasync fmod_ret/sys"),
        ("fail connect, read with EIO", &only(Backend::Entry), READ_BY_ENTRY),
        ("fail getpeername, recvmsg with EIO", &everything, PEER_AND_RECV),
        ("kill 1% of calls accept4", &everything, "accept4 fmod_ret/sys"),
        ("kill connect", &everything, "connect fmod_ret/sys"),
        ("fail connect with EIO", &everything, ""),
        (
            "fail connect, accept4 with EIO",
            &only(Backend::Seccomp),
            "connect seccomp, accept4 seccomp",
        ),
        ("fail openat with EIO under /data", &only(Backend::Seccomp), "openat seccomp"),
        ("fail openat with EIO under /data", &everything, "openat fmod_ret/security"),
        ("fail openat with EIO under /data/*", &everything, "openat seccomp"),
        ("fail unlinkat with EIO under /data", &everything, "unlinkat seccomp"),
        ("fail mmap, fsync with EIO under /data", &everything, MMAP_AND_FSYNC),
        (
            "fail fdatasync with EIO under /data",
            &only(Backend::Entry).with(Backend::Seccomp, Support::Works),
            "fdatasync seccomp",
        ),
    ] {
        assert_eq!(calls(text, features), expected, "{text}");
    }
}

const MMAP_AND_FSYNC: &str = "mmap fmod_ret/security, fsync fmod_ret/sys, fdatasync fmod_ret/sys";
const READ_BY_ENTRY: &str = "read fmod_ret/sys, ioctl fmod_ret/sys, pread64 fmod_ret/sys, \
                             readv fmod_ret/sys, sendfile fmod_ret/sys, splice fmod_ret/sys, \
                             preadv fmod_ret/sys, copy_file_range fmod_ret/sys, \
                             preadv2 fmod_ret/sys";
const PEER_AND_RECV: &str = "recvmsg fmod_ret/sys, getpeername fmod_ret/sys";

#[test]
fn calls_go_to_security_functions_where_entries_cannot_be_modified() {
    let debian = only(Backend::Security);
    let functions = |text: &str| {
        let rule = plan(&[fault(text)], &debian, &Terms::default()).rules.remove(0);
        rule.calls.into_iter().flat_map(|call| call.functions).collect::<BTreeSet<_>>()
    };
    for (text, expected) in [
        ("fail open with EIO", &["security_file_open"][..]),
        ("fail read, write with EIO", &["security_file_permission"]),
        ("fail mmap, brk with ENOMEM", &["security_mmap_file", "security_vm_enough_memory_mm"]),
        ("fail recv with ECONNRESET", &["security_socket_recvmsg"]),
        ("kill 1% of calls accept", &["security_socket_accept"]),
    ] {
        assert_eq!(functions(text), expected.iter().map(|name| (*name).to_owned()).collect());
    }
    // Where both work, `brk` alone is answered at its security function.
    let everything = KernelFeatures::everything("6.12.0");
    assert_eq!(calls("fail brk with ENOMEM", &everything), "brk fmod_ret/security");
    let rule = rule("fail mmap, brk with ENOMEM");
    let compiled = compile(&[rule], &[0], 1, &[0]);
    assert_eq!(compiled.calls.into_keys().collect::<Vec<u16>>(), [9, 512 + 12]);
}

/// Where security functions are asked, what copies passes one for each of its files.
#[test]
fn what_copies_counts_as_reading_and_writing() {
    let numbers = |text: &str, features: &KernelFeatures| {
        let rule = plan(&[fault(text)], features, &Terms::default()).rules.remove(0);
        let compiled = compile(&[rule], &[0], 1, &[0]);
        compiled.calls.into_keys().collect::<Vec<u16>>()
    };
    let everything = KernelFeatures::everything("6.12.0");
    let debian = only(Backend::Security);
    let cloning = chaos_ebpf_common::tables::CLONING;
    for (text, features, expected) in [
        ("fail write with EIO", &debian, vec![513, 530, 532, 797, 808, 840]),
        ("fail write with EIO under /data", &everything, vec![513, 530, 532, 797, 808, 840]),
        ("fail read with EIO", &debian, vec![512, 529, 531, 807, 839]),
        ("fail write with EIO", &everything, vec![1, 18, 20, 40, 275, 285, 296, 326, 328, cloning]),
        ("fail ioctl with EIO", &everything, vec![16, cloning]),
        ("fail ioctl with EIO", &debian, vec![528]),
    ] {
        assert_eq!(numbers(text, features), expected, "{text}");
    }
    // By itself it would be asked about for each of its files.
    let alone = plan(&[fault("fail sendfile with EIO")], &debian, &Terms::default());
    assert_eq!(alone.rules, []);
}

#[test]
fn paths_are_found_out_where_files_are_opened_and_used() {
    let functions = |text: &str| rule(text).calls.remove(0).functions;
    let (opening, access) = ("security_file_open", "security_file_permission");
    for (text, expected) in [
        ("fail openat with EIO under /data", &[opening][..]),
        ("fail pread with EIO under /data", &[access, opening]),
        ("fail mmap with EIO under /data", &["security_mmap_file", opening, access]),
        ("fail fdatasync with EIO under /data", &["__x64_sys_fdatasync", opening, access]),
    ] {
        assert_eq!(functions(text), expected, "{text}");
    }
}

#[test]
fn a_fault_is_never_split_between_the_kernel_and_seccomp() {
    let faults = [fault("fail connect, accept4 with EIO"), fault("fail connect with EIO")];
    let plan = plan(&faults, &only(Backend::Seccomp), &Terms::default());
    assert_eq!(plan.rules[0].hooks, []);
    assert_eq!(plan.rules[0].calls.len(), 2);
    assert_eq!((plan.rules[1].hooks.len(), plan.rules[1].calls.len()), (2, 0));
}

#[test]
fn what_has_the_filter_is_answered_whole() {
    let fault = [fault("fail stat with EIO under /data")];
    let everything = KernelFeatures::everything("6.12.0");
    let has_filter = Terms { has_filter: true, ..Terms::default() };
    // By a path the kernel answers one call of this name.
    let rule = plan(&fault, &everything, &Terms::default()).rules.remove(0);
    assert!(!rule.is_by_seccomp());
    assert!(rule.notes.iter().any(|note| note.starts_with("newfstatat: left alone")));
    let rule = plan(&fault, &everything, &has_filter).rules.remove(0);
    assert!(rule.is_by_seccomp());
    assert!(!rule.notes.iter().any(|note| note.contains("left alone")), "{:#?}", rule.notes);
    let whole = plan(&[super::fault("fail read with EIO")], &everything, &has_filter);
    assert!(!whole.needs_supervisors());
}

#[test]
fn a_call_without_its_cgroup_hook_goes_to_a_backend() {
    let missing = Support::Missing { reason: "no helper".to_owned(), remedy: String::new() };
    let features = KernelFeatures::everything("5.10.0").with(Hook::Connect6, missing);
    assert_eq!(calls("fail connect with EIO", &features), "connect fmod_ret/sys");
    let peer = fault("fail connect with EIO to 10.0.0.0/8");
    let plan = plan(&[peer], &features, &Terms::default());
    assert!(plan.refused[0].reason.contains("cgroup/connect6"), "{}", plan.refused[0]);
}

#[test]
fn what_a_kernel_has_no_function_for_is_told() {
    let features = KernelFeatures::everything("5.10.0")
        .with_functions(["__x64_sys_read", "__ia32_sys_read"].map(str::to_owned));
    let rule = plan(&[fault("fail read with EIO")], &features, &Terms::default()).rules.remove(0);
    assert_eq!(rule.calls[0].functions, ["__x64_sys_read", "__ia32_sys_read"]);
    let note = "preadv2: left alone, kernel 5.10.0 has no hook for it; for a command of `run` seccomp \
                answers it";
    assert!(rule.notes.iter().any(|found| found == note), "{:#?}", rule.notes);
}

#[test]
fn a_rule_ends_at_a_moment_that_comes_before_it_has_lasted() {
    const SECOND: u64 = 1_000_000_000;
    let rule = plan_all(&[fault("drop after 10s for 60s")], &Terms::default()).rules.remove(0);
    for (moment, lasts) in [(200, 60), (160, 60), (159, 59), (110, 10), (100, 0), (95, 0), (0, 0)] {
        let mut rule = rule.clone();
        rule.end_by(90 * SECOND, moment * SECOND);
        assert_eq!(rule.duration.as_secs(), lasts, "{moment}");
    }
}

#[test]
fn notes_say_what_is_promised() {
    for (text, note) in [
        ("drop egress", "egress: the packet is lost silently, the sender gets no error"),
        ("drop ingress", "ingress: the packet is lost before the socket, captures still show it"),
        ("shadow drop", "shadow: hits are counted and nothing is done"),
        ("corrupt", "IPv4: the receiver discards the packet by its header checksum"),
        ("corrupt udp", "IPv6 UDP: the receiver discards the packet by its UDP checksum"),
        ("corrupt tcp", "IPv6 TCP and segmentation-offloaded packets: equals a drop"),
        (
            "corrupt silent",
            "one bit of the payload is flipped and the checksum made valid: the application reads \
             wrong bytes",
        ),
        ("corrupt silent", "TCP and UDP only: nothing else can be corrupted silently"),
        (
            "fail sendto with EIO",
            "sendto, sendmsg, sendmmsg: UDP sockets that name the address in the call; connected \
             sockets are not seen",
        ),
        (
            "fail setsockopt with EIO to port 5",
            "setsockopt, getsockopt: `from` is the socket's own address, `to` its connected peer; \
             where there is none, it counts as 0.0.0.0 or ::",
        ),
        (
            "drop 10% of flows",
            "a flow is hit as a whole, in both directions; later fragments are let through, as \
             their flow is not known",
        ),
    ] {
        let notes = rule(text).notes;
        assert!(notes.iter().any(|found| found == note), "{text}: {notes:#?}");
    }
    let notes = rule("corrupt silent udp").notes;
    assert!(!notes.iter().any(|note| note.contains("nothing else")), "{notes:?}");
}

#[test]
fn duration_and_seed_come_from_the_fault_or_the_terms() {
    let terms = Terms { seed: 9, ..Terms::default() };
    let faults = [fault("drop"), fault("drop for 1h seed 3")];
    let rules = plan_all(&faults, &terms).rules;
    let found: Vec<_> = rules.iter().map(|rule| (rule.duration.as_secs(), rule.seed)).collect();
    assert_eq!(found, [(300, 9), (3600, 3)]);
    let short = Terms { longest: Duration::from_secs(60), ..terms };
    assert_eq!(plan_all(&faults[..1], &short).rules[0].duration, short.longest);
}

#[test]
fn exempt_addresses_are_touched_only_when_named() {
    let node: IpAddr = "::ffff:10.0.0.9".parse().unwrap();
    let other: IpAddr = "fd00::9".parse().unwrap();
    let terms = Terms { exempt: vec![node, other], ..Terms::default() };
    let faults = [fault("drop to 10.0.0.0/24"), fault("drop to 10.0.0.9")];
    let plan = plan_all(&faults, &terms);
    assert_eq!(plan.rules[0].exempt, BTreeSet::from([node.to_canonical(), other]));
    assert_eq!(plan.rules[1].exempt, BTreeSet::from([other]));
    let named = "10.0.0.9 is otherwise left alone and is touched because the fault names it";
    assert!(plan.rules[1].notes.iter().any(|note| note == named));
    assert_eq!(
        plan.notes,
        [
            "rules are asked in the order written, and the first that hits decides",
            "traffic from or to 10.0.0.9 is left alone, unless named",
            "traffic from or to fd00::9 is left alone, unless named",
        ]
    );
}

#[test]
fn shares_of_containers_keep_the_indices() {
    let faults =
        [fault("drop"), fault("drop in container db"), fault("skew clock by +1d in container db")];
    let shares = by_container(&faults);
    let share = &shares[&Some("db".to_owned())];
    let terms = Terms { scope: Scope::Container("db".to_owned()), ..Terms::default() };
    let plan = plan_all(&share.faults, &terms).renumbered(&share.indices);
    assert_eq!((plan.rules[0].index, plan.refused[0].index), (1, 2));
}

#[test]
fn json_is_for_people_with_jq() {
    let faults = [fault("drop 10% egress for 90s"), fault("skew clock by +1d")];
    let plan = plan_all(&faults, &Terms::default());
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["rules"][0]["fault"], "drop 10% egress for 1m30s");
    assert_eq!(json["rules"][0]["hooks"], serde_json::json!(["cgroup_skb/egress"]));
    assert_eq!(json["rules"][0]["action"], "drop");
    assert_eq!(json["rules"][0]["duration_seconds"], 90.0);
    assert_eq!(json["refused"][0]["index"], 1);
    assert_eq!(json["refused"][0]["fault"], "skew clock by +1d");
    assert_eq!(plan.hooks(), BTreeSet::from([Hook::CgroupSkbEgress]));
}
