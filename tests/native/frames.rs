//! The programs on frames that no network of a test would carry (`BPF_PROG_TEST_RUN`): what they
//! return, what they change and what they count.

mod build;

use anyhow::{Context, Result};
use build::{Ip, LINK, Segment, TRANSPORT_CHECKSUM, ethernet, sum, tagged};
use chaos_api::{Counts, clock::boot_now};
use chaos_engine::{
    cgroup::CgroupRoot,
    kernel::{Trial, TrialTarget},
};
use chaos_plan::{Hook, KernelFeatures, Terms, compile, plan};
use chaos_tests::{injector::parse, machine::Shared};

/// Of `cgroup_skb` programs.
const PASS: u32 = 1;
const LOST_EGRESS: u32 = 2;
const LOST_INGRESS: u32 = 0;

/// Of tcx programs (`enum tcx_action_base`).
const NEXT: u32 = -1i32 as u32;
const DROPPED: u32 = 2;

/// A target's programs and rules, attached to nothing. The target is the test's own cgroup: the
/// kernel makes the packets of a trial ones of the caller.
struct Bench {
    target: TrialTarget,
    _shared: Shared,
}

impl Bench {
    fn new(faults: &str) -> Result<Self> {
        let own = CgroupRoot::discover()?.own()?;
        Self::of(own.id(), own.level(), faults)
    }

    fn of(cgroup: u64, level: u32, faults: &str) -> Result<Self> {
        let shared = Shared::acquire()?;
        let mut target = TrialTarget::load(cgroup, level)?;
        let features = KernelFeatures::everything("of a trial");
        let plan = plan(&parse(faults)?, &features, &Terms::default());
        assert!(plan.refused.is_empty(), "{}", plan.refused[0]);
        let slots: Vec<u32> = (0..).take(plan.rules.len()).collect();
        let began = vec![boot_now(); plan.rules.len()];
        let set = compile(&plan.rules, &slots, TrialTarget::SET, &began);
        target.judge_by(&set)?;
        Ok(Self { target, _shared: shared })
    }

    fn try_frame(&mut self, hook: Hook, frame: &[u8], gso_size: u32) -> Result<Trial> {
        let tried = self.target.try_frame(hook, frame, gso_size);
        tried.with_context(|| format!("{} bytes: {frame:02x?}", frame.len()))
    }

    fn counts(&self) -> Result<Counts> {
        Ok(self.target.counts(0)?.into())
    }
}

fn dns_query() -> Vec<u8> {
    Segment::udp(53).bytes()
}

/// Frames by what they are, and whether they are UDP to port 53.
fn zoo() -> Vec<(&'static str, Vec<u8>, bool)> {
    let v4 = |ip: Ip| ethernet(0x0800, &ip.v4(17, &dns_query()));
    let v6 = |ip: Ip| ethernet(0x86dd, &ip.v6(17, &dns_query()));
    let plain4 = Ip::default().v4(17, &dns_query());
    let plain6 = Ip::default().v6(17, &dns_query());
    let bad = |position: usize, value: u8| {
        let mut packet = plain4.clone();
        packet[position] = value;
        ethernet(0x0800, &packet)
    };
    let extensions = |kinds: &[u8]| Ip { extensions: kinds.to_vec(), ..Ip::default() };
    let fragment = |bits| Ip { fragment: Some(bits), ..Ip::default() };
    vec![
        ("v4", v4(Ip::default()), true),
        ("v4, one option", v4(Ip { options: 4, ..Ip::default() }), true),
        ("v4, all options", v4(Ip { options: 40, ..Ip::default() }), true),
        ("v4, don't fragment", v4(fragment(0x4000)), true),
        ("v4, first fragment", v4(fragment(0x2000)), true),
        ("v4, middle fragment", v4(fragment(0x2001)), false),
        ("v4, last fragment", v4(fragment(0x0001)), false),
        ("v4, header of 16 bytes", bad(0, 0x44), false),
        ("v4, version 6", bad(0, 0x65), false),
        ("v4, header longer than the packet", bad(0, 0x4f), false),
        ("v4, another protocol", bad(9, 132), false),
        ("v4, tcp", ethernet(0x0800, &Ip::default().v4(6, &Segment::tcp(53).bytes())), false),
        ("v4, port 54", ethernet(0x0800, &Ip::default().v4(17, &Segment::udp(54).bytes())), false),
        ("v4 called v6", ethernet(0x86dd, &plain4), false),
        ("v4, 802.1Q", tagged(&[0x8100], 0x0800, &plain4), true),
        ("v4, 802.1ad", tagged(&[0x88a8, 0x8100], 0x0800, &plain4), true),
        ("v4, three tags", tagged(&[0x88a8, 0x8100, 0x8100], 0x0800, &plain4), false),
        ("v6, 802.1Q", tagged(&[0x8100], 0x86dd, &plain6), true),
        ("v6", v6(Ip::default()), true),
        ("v6, hop-by-hop", v6(extensions(&[0])), true),
        ("v6, four extensions", v6(extensions(&[0, 60, 43, 60])), true),
        ("v6, authentication", v6(extensions(&[51])), true),
        ("v6, seven extensions", v6(extensions(&[0, 60, 43, 60, 60, 60, 60])), false),
        ("v6, first fragment", v6(fragment(0x0001)), true),
        ("v6, last fragment", v6(fragment(0x0008)), false),
        ("v6 called v4", ethernet(0x0800, &plain6), false),
        ("ARP", ethernet(0x0806, &plain4), false),
    ]
}

#[test]
fn only_what_matches_is_lost() -> Result<()> {
    for (hook, direction, lost) in [
        (Hook::CgroupSkbEgress, "egress", LOST_EGRESS),
        (Hook::CgroupSkbIngress, "ingress", LOST_INGRESS),
    ] {
        let mut bench = Bench::new(&format!("drop {direction} udp to port 53"))?;
        let mut hits = 0;
        for (name, frame, hit) in zoo() {
            for gso_size in [0, 8] {
                let trial = bench.try_frame(hook, &frame, gso_size)?;
                let expected = if hit { lost } else { PASS };
                assert_eq!(trial.verdict, expected, "{hook}, {name}, gso_size {gso_size}");
                hits += u64::from(hit);
            }
        }
        let counts = bench.counts()?;
        assert_eq!((counts.matched, counts.injected), (hits, hits), "{hook}");
    }
    Ok(())
}

#[test]
fn short_packets_say_less_and_never_something_else() -> Result<()> {
    let mut bench = Bench::new("drop egress udp to port 53")?;
    for (packet, ethertype, ports_end) in [
        (Ip::default().v4(17, &dns_query()), 0x0800, 24),
        (Ip { options: 8, ..Ip::default() }.v4(17, &dns_query()), 0x0800, 32),
        (Ip::default().v6(17, &dns_query()), 0x86dd, 44),
        (Ip { extensions: vec![0, 60], ..Ip::default() }.v6(17, &dns_query()), 0x86dd, 60),
    ] {
        for length in 1..=packet.len() {
            let frame = ethernet(ethertype, &packet[..length]);
            // Some kernels refuse to try what is shorter than an IP header.
            let Ok(trial) = bench.try_frame(Hook::CgroupSkbEgress, &frame, 0) else {
                assert!(length < 40, "{length} bytes are refused");
                continue;
            };
            let expected = if length < ports_end { PASS } else { LOST_EGRESS };
            assert_eq!(trial.verdict, expected, "{ethertype:#x}: {length} bytes");
        }
    }
    Ok(())
}

#[test]
fn neighbours_are_found_whatever_is_dropped() -> Result<()> {
    let mut bench = Bench::new("drop egress")?;
    let icmp6 = |kind: u8| ethernet(0x86dd, &Ip::default().v6(58, &[kind, 0, 0, 0, 0, 0, 0, 0]));
    for kind in 133..=137 {
        let trial = bench.try_frame(Hook::CgroupSkbEgress, &icmp6(kind), 0)?;
        assert_eq!(trial.verdict, PASS, "neighbour discovery {kind}");
    }
    let arp = ethernet(0x0806, &[0; 28]);
    assert_eq!(bench.try_frame(Hook::CgroupSkbEgress, &arp, 0)?.verdict, PASS);
    for kind in [128, 129, 1, 2] {
        let trial = bench.try_frame(Hook::CgroupSkbEgress, &icmp6(kind), 0)?;
        assert_eq!(trial.verdict, LOST_EGRESS, "ICMPv6 {kind}");
    }
    assert_eq!(bench.counts()?.matched, 4);
    Ok(())
}

#[test]
fn a_silent_corruption_flips_one_bit_and_balances_the_checksum() -> Result<()> {
    let mut bench = Bench::new("corrupt silent egress")?;
    let mut runs = 0;
    for protocol in [17, 6] {
        let segment = if protocol == 17 { Segment::udp(53) } else { Segment::tcp(53) };
        let bytes = segment.bytes();
        let frames = [
            (0, ethernet(0x0800, &Ip::default().v4(protocol, &bytes)), 20),
            (0, ethernet(0x0800, &Ip { options: 12, ..Ip::default() }.v4(protocol, &bytes)), 32),
            (
                0,
                ethernet(
                    0x0800,
                    &Ip { fragment: Some(0x2000), ..Ip::default() }.v4(protocol, &bytes),
                ),
                20,
            ),
            (4, tagged(&[0x8100], 0x0800, &Ip::default().v4(protocol, &bytes)), 20),
            (0, ethernet(0x86dd, &Ip::default().v6(protocol, &bytes)), 40),
            (
                0,
                ethernet(0x86dd, &Ip { extensions: vec![0], ..Ip::default() }.v6(protocol, &bytes)),
                48,
            ),
        ];
        for (tags, frame, header) in frames {
            let transport = LINK + tags + header;
            let payload = transport + segment.header()..frame.len();
            // What Ethernet adds to a short frame is no payload.
            let padded = [frame, vec![0xee; 20]].concat();
            for run in 0..50 {
                let gso_size = if run % 2 == 0 { 0 } else { 8 };
                let Trial { verdict, frame } =
                    bench.try_frame(Hook::TcxEgress, &padded, gso_size)?;
                runs += 1;
                assert_eq!(verdict, NEXT);
                let checksum = transport + TRANSPORT_CHECKSUM[&protocol];
                let changed: Vec<usize> =
                    (0..frame.len()).filter(|at| frame[*at] != padded[*at]).collect();
                let flipped: Vec<usize> =
                    changed.iter().copied().filter(|at| payload.contains(at)).collect();
                let &[at] = &flipped[..] else { panic!("payload bytes {flipped:?} changed") };
                assert_eq!((frame[at] ^ padded[at]).count_ones(), 1);
                let rest = changed.iter().filter(|other| **other != at);
                rest.for_each(|at| assert!((checksum..checksum + 2).contains(at), "{changed:?}"));
                let covered = transport..payload.end;
                assert_eq!(sum(&frame[covered.clone()]), sum(&padded[covered]), "byte {at}");
            }
        }
    }
    let counts = bench.counts()?;
    assert_eq!((counts.matched, counts.injected), (runs, runs));
    Ok(())
}

#[test]
fn what_has_no_payload_or_no_checksum_is_handled() -> Result<()> {
    let mut bench = Bench::new("corrupt silent egress")?;
    let empty = Segment::udp(53).without_payload().bytes();
    let syn = Segment::tcp(53).without_payload().bytes();
    let later = Ip { fragment: Some(0x2001), ..Ip::default() };
    let unfit = [
        ethernet(0x0800, &Ip::default().v4(17, &empty)),
        ethernet(0x86dd, &Ip::default().v6(6, &syn)),
        ethernet(0x0800, &later.v4(17, &dns_query())),
        // Cut off within the TCP header.
        ethernet(0x0800, &Ip::default().v4(6, &Segment::tcp(53).bytes()[..10])),
    ];
    for frame in &unfit {
        let trial = bench.try_frame(Hook::TcxEgress, frame, 0)?;
        assert_eq!(trial, Trial { verdict: NEXT, frame: frame.clone() });
    }
    let counts = bench.counts()?;
    assert_eq!((counts.matched, counts.spared["unfit"]), (4, 4));

    // RFC 768: zero is "no checksum", and stays so.
    let mut unsummed = ethernet(0x0800, &Ip::default().v4(17, &dns_query()));
    let checksum = LINK + 20 + TRANSPORT_CHECKSUM[&17];
    unsummed[checksum..checksum + 2].fill(0);
    let trial = bench.try_frame(Hook::TcxEgress, &unsummed, 0)?;
    assert_eq!(trial.frame[checksum..checksum + 2], [0, 0]);
    assert_ne!(trial.frame, unsummed);
    Ok(())
}

#[test]
fn a_corruption_breaks_a_checksum_that_every_receiver_checks() -> Result<()> {
    let mut bench = Bench::new("corrupt egress")?;
    let mut expect_broken = |frame: Vec<u8>, field: usize, is_broken: &dyn Fn(&[u8]) -> bool| {
        for _ in 0..50 {
            let trial = bench.try_frame(Hook::TcxEgress, &frame, 0)?;
            assert_eq!(trial.verdict, NEXT);
            let elsewhere = (0..frame.len()).filter(|at| !(field..field + 2).contains(at));
            elsewhere.for_each(|at| assert_eq!(trial.frame[at], frame[at], "byte {at}"));
            assert!(is_broken(&trial.frame), "{:02x?}", trial.frame);
        }
        anyhow::Ok(())
    };
    for options in [0, 12] {
        let packet = Ip { options, ..Ip::default() }.v4(6, &Segment::tcp(53).bytes());
        let header = LINK..LINK + 20 + options;
        let broken = move |frame: &[u8]| sum(&frame[header.clone()]) != 0xffff;
        expect_broken(ethernet(0x0800, &packet), LINK + 10, &broken)?;
    }
    let packet = Ip::default().v4(17, &dns_query());
    let broken = |frame: &[u8]| sum(&frame[LINK + 4..LINK + 24]) != 0xffff;
    expect_broken(tagged(&[0x8100], 0x0800, &packet), LINK + 14, &broken)?;
    let packet = Ip::default().v6(17, &dns_query());
    let field = LINK + 40 + TRANSPORT_CHECKSUM[&17];
    // RFC 8200 §8.1: UDP over IPv6 must have one.
    let missing = move |frame: &[u8]| frame[field..field + 2] == [0, 0];
    expect_broken(ethernet(0x86dd, &packet), field, &missing)?;

    let lost = [
        (ethernet(0x86dd, &Ip::default().v6(6, &Segment::tcp(53).bytes())), 0),
        (ethernet(0x0800, &Ip::default().v4(6, &Segment::tcp(53).bytes())), 1448),
        (ethernet(0x86dd, &Ip::default().v6(17, &dns_query())), 1200),
    ];
    for (frame, gso_size) in lost {
        assert_eq!(bench.try_frame(Hook::TcxEgress, &frame, gso_size)?.verdict, DROPPED);
    }
    let counts = bench.counts()?;
    assert_eq!(counts.matched, counts.injected);
    Ok(())
}

#[test]
fn frames_of_others_are_left_alone() -> Result<()> {
    let faults = "corrupt silent";
    let mut foreign = Bench::of(u64::MAX, 1, faults)?;
    let mut own = Bench::new(faults)?;
    for (name, frame, _) in zoo() {
        let untouched = Trial { verdict: NEXT, frame: frame.clone() };
        assert_eq!(foreign.try_frame(Hook::TcxEgress, &frame, 0)?, untouched, "{name}");
        // No socket is waiting for them.
        assert_eq!(own.try_frame(Hook::TcxIngress, &frame, 0)?, untouched, "{name}");
    }
    assert_eq!((foreign.counts()?.matched, own.counts()?.matched), (0, 0));
    Ok(())
}
