//! Several texts on one target, on nested targets, and as many as the agent has room for.

use anyhow::{Context, Result, bail};
use chaos_api::{ArmedId, Counts, Outcome, TargetReport};
use chaos_engine::{
    arm::{ArmError, Armory, Request},
    cgroup::CgroupRoot,
    kernel::Room,
};
use chaos_plan::Terms;
use chaos_tests::{
    cgroup::TestCgroup,
    injector::parse,
    job::{Call, Repeated, SocketKind, UdpSend, UdpSink},
    machine::Shared,
    process::Place,
    victim::Victim,
};

use crate::{
    agent::{Agent, features, target},
    pair::Pair,
};

const SENT: u64 = 100;

/// Arms a text under a name of its own.
fn arm(armory: &mut Armory, name: &str, cgroup: &TestCgroup, text: &str) -> Result<()> {
    let request = Request {
        id: ArmedId(name.to_owned()),
        target: target(cgroup)?,
        faults: &parse(text)?,
        terms: Terms::default(),
        clock: &|_| None,
    };
    match armory.arm(request)? {
        Outcome::Armed(_) => Ok(()),
        Outcome::Refused(plan) => bail!("{}", plan.refused[0]),
        Outcome::Occupied(occupied) => bail!("{}", occupied.refusals[0]),
    }
}

fn disarm(armory: &mut Armory, name: &str) -> Result<TargetReport> {
    let ended = armory.disarm(&ArmedId(name.to_owned()), "the test says so");
    ended.context("it is armed")?.report.context("a last report")
}

/// What matched the first fault of a text, and what it did.
fn counts(armory: &Armory, name: &str) -> Result<(u64, u64)> {
    let report = armory.report(&ArmedId(name.to_owned())).context("it is armed")??;
    let Counts { matched, injected, .. } = report.faults[0].counts;
    Ok((matched, injected))
}

/// How many of the datagrams reach the server's port that the client sends there.
fn received(pair: &Pair, port: u16) -> Result<u64> {
    let sink = Victim::start(UdpSink { bind: pair.server_end.socket_v4(port) }, pair.server())?;
    Victim::run(UdpSend::new(sink.address(), SENT), pair.client())?;
    Ok(sink.stop()?.received)
}

/// A text loses every second datagram and the next one every fifth of those that are left.
#[test]
fn texts_on_one_target_are_asked_in_the_order_in_which_they_were_armed() -> Result<()> {
    let pair = Pair::new()?;
    let mut armory = Agent::new(&pair.claim)?.armory;
    let on = &pair.client_cgroup;
    let received = |port| received(&pair, port);
    arm(&mut armory, "second", on, "drop every 2nd egress udp")?;
    arm(&mut armory, "fifth", on, "drop every 5th egress udp")?;
    arm(&mut armory, "seen", on, "shadow drop egress udp")?;
    assert_eq!(received(71)?, 40);
    assert_eq!(counts(&armory, "second")?, (100, 50));
    assert_eq!(counts(&armory, "fifth")?, (50, 10));
    assert_eq!(counts(&armory, "seen")?, (40, 0));

    // One that is replaced keeps its place.
    arm(&mut armory, "second", on, "drop every 4th egress udp")?;
    assert_eq!(received(72)?, 60);
    assert_eq!(counts(&armory, "second")?, (100, 25));
    assert_eq!(counts(&armory, "fifth")?, (125, 25));

    // The others go on without one that ends.
    let last = disarm(&mut armory, "second")?;
    assert_eq!((last.faults[0].counts.matched, last.faults[0].counts.injected), (100, 25));
    assert_eq!(received(73)?, 80);
    assert_eq!(counts(&armory, "fifth")?, (225, 45));

    // And a new one comes last.
    arm(&mut armory, "all", on, "drop egress udp")?;
    assert_eq!(received(74)?, 0);
    assert_eq!(counts(&armory, "fifth")?, (325, 65));
    assert_eq!(counts(&armory, "all")?, (80, 80));
    armory.halt("the test is over");
    assert_eq!(received(75)?, SENT);
    Ok(())
}

/// A hook that is needed again before anything else is done is not attached twice.
#[test]
fn what_was_taken_off_and_is_wanted_again_is_asked_once() -> Result<()> {
    let pair = Pair::new()?;
    let mut armory = Agent::new(&pair.claim)?.armory;
    let on = &pair.client_cgroup;
    let received = |port| received(&pair, port);
    let text = "drop every 2nd egress udp";
    for text in [text, "fail bind with EIO", text] {
        arm(&mut armory, "one", on, text)?;
    }
    assert_eq!((received(81)?, counts(&armory, "one")?), (50, (100, 50)));
    // Nor where it was another text that needed it before.
    disarm(&mut armory, "one")?;
    arm(&mut armory, "other", on, text)?;
    assert_eq!((received(82)?, counts(&armory, "other")?), (50, (100, 50)));
    Ok(())
}

#[test]
fn a_call_that_one_text_fails_is_not_asked_about_by_the_next() -> Result<()> {
    let pair = Pair::new()?;
    let mut armory = Agent::new(&pair.claim)?.armory;
    arm(&mut armory, "first", &pair.client_cgroup, "fail socket with EMFILE every 2nd")?;
    arm(&mut armory, "second", &pair.client_cgroup, "fail socket with ENOMEM every 5th")?;
    let call = Call::new(Repeated::Socket { kind: SocketKind::Tcp4 }, SENT);
    let total = Victim::run(call, pair.client())?.total();
    assert_eq!((total.failed_with("EMFILE"), total.failed_with("ENOMEM"), total.ok), (50, 10, 40));
    assert_eq!(counts(&armory, "first")?, (100, 50));
    assert_eq!(counts(&armory, "second")?, (50, 10));
    Ok(())
}

/// A cgroup in another one: what the inner one lets pass, the outer one is asked about.
#[test]
fn nested_targets_each_have_their_own_faults() -> Result<()> {
    let claim = Shared::acquire()?;
    let outer = TestCgroup::new(&claim, "outer")?;
    let inner = outer.child("inner")?;
    let mut armory = Agent::new(&claim)?.armory;
    arm(&mut armory, "outer", &outer, "fail socket with ENOMEM every 5th")?;
    arm(&mut armory, "inner", &inner, "fail socket with EMFILE every 2nd")?;
    let call = || Call::new(Repeated::Socket { kind: SocketKind::Tcp4 }, SENT);
    let own = Victim::run(call(), Place::here().cgroup(&outer))?.total();
    assert_eq!((own.failed_with("ENOMEM"), own.ok), (20, 80));
    assert_eq!((counts(&armory, "outer")?, counts(&armory, "inner")?), ((100, 20), (0, 0)));
    let both = Victim::run(call(), Place::here().cgroup(&inner))?.total();
    assert_eq!(both.failed(), SENT - both.ok);
    assert_eq!(counts(&armory, "inner")?, (100, 50));
    assert!(both.failed_with("EMFILE") > 0 && both.failed_with("ENOMEM") > 0, "{both:?}");
    disarm(&mut armory, "outer")?;
    let alone = Victim::run(call(), Place::here().cgroup(&inner))?.total();
    assert_eq!((alone.failed_with("EMFILE"), alone.ok), (50, 50));
    Ok(())
}

/// As many texts as a target takes, and one more; as many rules as the agent takes, and one more.
#[test]
fn where_there_is_no_room_the_newcomer_is_refused_and_nobody_else_notices() -> Result<()> {
    let claim = Shared::acquire()?;
    let [one, other] = ["one", "other"].map(|name| TestCgroup::new(&claim, name));
    let (one, other) = (one?, other?);
    let features = features(&claim)?.clone();
    let lease = std::time::Duration::from_secs(600);
    let room = Room { texts: 9, rules: 20 };
    let mut armory = Armory::new(CgroupRoot::discover()?, features, lease).with_room(room);
    let text = "fail socket with EMFILE";
    for name in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        arm(&mut armory, name, &one, &format!("shadow {text}"))?;
    }
    let refused = arm(&mut armory, "9", &one, text).unwrap_err();
    let says = |error: &anyhow::Error, what: &str| {
        assert!(error.downcast_ref::<ArmError>().is_some(), "{error:#}");
        assert!(error.to_string().contains(what), "{error:#}");
    };
    says(&refused, "no room for another text on this target: the agent has room for 8");
    let many = vec![format!("shadow {text}"); 40].join("\n");
    says(&arm(&mut armory, "many", &other, &many).unwrap_err(), "no room for more rules");
    // What is armed can be changed as long as it fits, and a change that does not fit changes nothing.
    let eleven = vec![format!("shadow {text}"); 11].join("\n");
    for _ in 0..10 {
        says(&arm(&mut armory, "8", &one, &many).unwrap_err(), "no room for more rules");
        arm(&mut armory, "7", &one, &eleven)?;
        arm(&mut armory, "7", &one, &format!("shadow {text}"))?;
    }
    // Nothing of those is in force, and what they had taken is free again.
    let call = || Call::new(Repeated::Socket { kind: SocketKind::Tcp4 }, 10);
    for cgroup in [&one, &other] {
        assert_eq!(Victim::run(call(), Place::here().cgroup(cgroup))?.total().ok, 10);
    }
    for name in ["1", "8"] {
        let report = armory.report(&ArmedId(name.to_owned())).context("it is armed")??;
        assert_eq!(report.faults[0].counts.shadowed, 10, "{name}");
    }
    for round in 0..30 {
        let name = format!("round {round}");
        arm(&mut armory, &name, &other, text)?;
        assert_eq!(Victim::run(call(), Place::here().cgroup(&other))?.total().ok, 0, "{name}");
        assert_eq!(disarm(&mut armory, &name)?.faults[0].counts.injected, 10, "{name}");
    }
    Ok(())
}

/// Targets at work at the same time, each with dice of its own.
#[test]
fn every_target_has_its_own_counts_budget_and_dice() -> Result<()> {
    const TARGETS: u64 = 24;
    let claim = Shared::acquire()?;
    let cgroups = (0..TARGETS)
        .map(|number| TestCgroup::new(&claim, &format!("target-{number}")))
        .collect::<Result<Vec<_>>>()?;
    let mut armory = Agent::new(&claim)?.armory;
    for (number, cgroup) in (1..).zip(&cgroups) {
        let text = "fail 50% socket with EMFILE at most 100 seed 7";
        arm(&mut armory, &format!("{number}"), cgroup, text)?;
    }
    let call = Call::new(Repeated::Socket { kind: SocketKind::Tcp4 }, 500);
    let victims = cgroups
        .iter()
        .map(|cgroup| Victim::start(call.clone(), Place::here().cgroup(cgroup)))
        .collect::<Result<Vec<_>>>()?;
    let mut failed = Vec::new();
    for (number, victim) in (1..).zip(victims) {
        let report = victim.report()?;
        assert_eq!(report.total().failed_with("EMFILE"), 100);
        assert_eq!(counts(&armory, &format!("{number}"))?, (500, 100));
        failed.push(report.lanes[0].failed.iter().collect::<Vec<u64>>());
    }
    // One seed: the same calls, whoever else is at work.
    assert!(failed.iter().all(|calls| *calls == failed[0]), "{failed:?}");
    Ok(())
}

/// System calls that programs at functions of the kernel decide.
mod at_functions {
    use std::{fs, process::Command, time::Duration};

    use chaos_plan::{Backend, Support};
    use chaos_tests::{process::Process, require};
    use tempfile::TempDir;

    use super::*;
    use crate::{
        agent::answers,
        syscalls::{Caller, at_best},
    };

    /// More than a function of the kernel takes programs.
    const TARGETS: usize = 45;
    const CALLS: u64 = 20;
    const SOON: Duration = Duration::from_secs(60);

    #[test]
    fn as_many_targets_as_wanted_share_one_program() -> Result<()> {
        let claim = Shared::acquire()?;
        require!("fmod_ret on security functions"; answers(&claim, Backend::Security));
        let outside = TestCgroup::new(&claim, "outside")?;
        let cgroups = (0..TARGETS)
            .map(|number| TestCgroup::new(&claim, &format!("target-{number}")))
            .collect::<Result<Vec<_>>>()?;
        let inner = cgroups[1].child("a/b/inner")?;
        let mut armory = Agent::new(&claim)?.armory;
        for (number, cgroup) in cgroups.iter().enumerate() {
            let nth = ["2nd", "3rd", "4th"][number % 3];
            let text = format!("fail mkdir with ENOSPC every {nth}");
            arm(&mut armory, &format!("{number}"), cgroup, &text)?;
        }
        // Deeper than the others, and in one of them.
        arm(&mut armory, "inner", &inner, "fail mkdir with EIO")?;
        for number in [0, 1, TARGETS - 1] {
            let caller = Caller::start(&["mkdir"], CALLS, &cgroups[number])?;
            let failed = CALLS / (number as u64 % 3 + 2);
            assert_eq!(caller.report(&outside)?.total().failed_with("ENOSPC"), failed, "{number}");
            assert_eq!(counts(&armory, &format!("{number}"))?, (CALLS, failed), "{number}");
        }
        // The outer target is asked first, and what it lets pass the inner one.
        let total = Caller::start(&["mkdir"], CALLS, &inner)?.report(&outside)?.total();
        assert_eq!(
            (total.failed_with("ENOSPC"), total.ok),
            (counts(&armory, "1")?.1 - CALLS / 3, 0)
        );
        assert_eq!(total.failed_with("EIO"), CALLS - total.failed_with("ENOSPC"));
        assert_eq!(counts(&armory, "inner")?, (total.failed_with("EIO"), total.failed_with("EIO")));
        let others = Caller::start(&["mkdir"], CALLS, &outside)?;
        assert_eq!(others.report(&outside)?.total().failed(), 0);
        // Those that end leave the others what they have.
        for number in 0..TARGETS - 1 {
            disarm(&mut armory, &format!("{number}"))?;
        }
        let last = Caller::start(&["mkdir"], CALLS, &cgroups[TARGETS - 1])?.report(&outside)?;
        assert_eq!(last.total().failed(), CALLS / ((TARGETS as u64 - 1) % 3 + 2));
        let first = Caller::start(&["mkdir"], CALLS, &cgroups[0])?.report(&outside)?;
        assert_eq!(first.total().failed(), 0);
        Ok(())
    }

    /// More tasks than processors, each of which may be preempted in the program: at the entry of the call or where that
    /// is best, and at the security function.
    #[test]
    fn what_may_have_been_missed_is_said() -> Result<()> {
        const TASKS: usize = 8;
        const EACH: u64 = 20_000;
        let claim = Shared::acquire()?;
        require!("fmod_ret on security functions"; answers(&claim, Backend::Security));
        let features = features(&claim)?;
        for features in [features.clone(), at_best(features, Backend::Security)] {
            let [outside, cgroup] = ["outside", "target"].map(|name| TestCgroup::new(&claim, name));
            let (outside, cgroup) = (outside?, cgroup?);
            let is_at_entries = features.support(Backend::Entry) == Support::Works;
            let mut armory = Agent::with_features(features)?.armory;
            arm(&mut armory, "all", &cgroup, "fail read with EIO")?;
            let callers = (0..TASKS)
                .map(|_| Caller::start(&["read"], EACH, &cgroup))
                .collect::<Result<Vec<_>>>()?;
            let mut failed = 0;
            for caller in callers {
                failed += caller.report(&outside)?.total().failed_with("EIO");
            }
            let missed = TASKS as u64 * EACH - failed;
            let report = armory.report(&ArmedId("all".to_owned())).context("it is armed")??;
            let said = report.notes.iter().find_map(|note| {
                let (_, behind) = note.split_once("calls up to ")?;
                behind.split(' ').next()?.parse::<u64>().ok()
            });
            let place = if is_at_entries { "at entries" } else { "at security functions" };
            println!("{place}: {missed} of {} calls missed, {said:?} at most", TASKS as u64 * EACH);
            assert!(missed <= said.unwrap_or_default(), "{missed} missed, {:?}", report.notes);
            // Before 6.2 the kernel leaves out these programs, too.
            if !is_at_entries && modules_act() && is_at_least(6, 2) {
                assert_eq!((missed, said), (0, None), "{place}");
            }
        }
        Ok(())
    }

    /// Whether the kernel asks BPF security modules.
    fn modules_act() -> bool {
        let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        modules.trim().split(',').any(|module| module == "bpf")
    }

    fn is_at_least(major: u32, minor: u32) -> bool {
        let release = chaos_engine::kernel::release();
        let mut numbers = release.split(['.', '-']).filter_map(|number| number.parse().ok());
        (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
    }

    /// Where a file goes by the path that it was opened by, and nobody could look again.
    #[test]
    fn a_target_that_opens_many_files_takes_no_room_from_another() -> Result<()> {
        const MORE_THAN_ARE_KNOWN: usize = 4_000;
        let claim = Shared::acquire()?;
        require!("fmod_ret on system calls"; answers(&claim, Backend::Entry));
        let [one, other] = ["floods", "quiet"].map(|name| TestCgroup::new(&claim, name));
        let (one, other) = (one?, other?);
        let directory = TempDir::new()?;
        let real = fs::canonicalize(directory.path())?;
        let under = real.display();
        let mut armory = Agent::new(&claim)?.armory;
        arm(&mut armory, "quiet", &other, &format!("fail fsync with EIO under {under}/quiet"))?;
        arm(&mut armory, "floods", &one, &format!("fail fsync with EIO under {under}/many"))?;
        let mut python = Command::new("python3");
        python.arg("-c").arg(format!(
            "import os\nfile = os.open('{under}/quiet', os.O_CREAT | os.O_WRONLY)\nprint('open', flush=True)\ninput()\n\
             try: os.fsync(file); print('synced')\nexcept OSError as error: print(error.errno)"
        ));
        let mut quiet = Process::spawn(python, Place::here().cgroup(&other))?;
        assert_eq!(quiet.line(SOON)?, "open");
        let mut flood = Command::new("python3");
        flood.arg("-c").arg(format!(
            "import os\nos.mkdir('{under}/many')\nfor n in range({MORE_THAN_ARE_KNOWN}): os.close(os.open(f'{under}/many/{{n}}', \
             os.O_CREAT | os.O_WRONLY))"
        ));
        assert!(Process::spawn(flood, Place::here().cgroup(&one))?.wait(SOON)?.success());
        quiet.write(b"go\n")?;
        assert_eq!(quiet.line(SOON)?, nix::libc::EIO.to_string());
        assert_eq!(counts(&armory, "quiet")?, (1, 1));
        Ok(())
    }
}

/// Thousands of rounds.
mod repeated {
    use std::{fs, thread::sleep, time::Duration};

    use chaos_ebpf_common::hash;
    use chaos_tests::{clock::is_emulated, machine::Quiet, netns::TestNetns, require};

    use super::*;
    use crate::{
        agent::{has_frames, has_line},
        ours::Ours,
        pair::idle,
    };

    const SEED: u64 = 20_261_129;

    const TEXTS: [&str; 7] = [
        "drop 10% egress udp",
        "fail socket with EMFILE every 3rd",
        "fail connect with EIO to 10.0.0.0/8, 10.1.0.0/16, fd00::/8 port 80-90",
        "drop the first 5 of flows ingress",
        "shadow fail setsockopt with EIO; drop 3% egress tcp to fd00::/8 port 443; drop udp",
        "fail bind with EADDRINUSE at most 3 per second",
        "drop 1% except 10.0.0.1, 10.0.0.2; fail getsockopt with EINVAL",
    ];

    const ON_FRAMES: [&str; 7] = [
        "delay 5ms egress udp",
        "corrupt 10% egress; delay 1ms, 5ms*9 ingress tcp",
        "duplicate ingress udp",
        "limit 10mbit egress per flow; reorder by 1ms every 3rd ingress",
        "reset 10% to port 80",
        "drop 1% ingress; delay 1ms jitter 1ms egress",
        "fail dns with NXDOMAIN for *.example.com; shadow delay 1s",
    ];

    /// How long the last frames of a delay line take, and the line with them.
    const LAST_FRAMES: Duration = Duration::from_millis(1_200);

    const LATE: Duration = Duration::from_secs(120);

    fn descriptors() -> Result<usize> {
        Ok(fs::read_dir("/proc/self/fd")?.count())
    }

    /// Random faults come and go on random targets, with several texts each; every hundredth round a victim is asked
    /// what it saw.
    #[test]
    fn rounds_of_random_faults_on_random_targets_leave_nothing() -> Result<()> {
        let claim = Quiet::acquire()?;
        let cgroups = (0..12)
            .map(|number| TestCgroup::new(&claim, &format!("target-{number}")))
            .collect::<Result<Vec<_>>>()?;
        let watched = TestCgroup::new(&claim, "watched")?;
        let check = |armory: &mut Armory, round| {
            arm(armory, "watched", &watched, "fail socket with EMFILE every 2nd")?;
            let call = Call::new(Repeated::Socket { kind: SocketKind::Tcp4 }, 20);
            let total = Victim::run(call, Place::here().cgroup(&watched))?.total();
            let counts = disarm(armory, "watched")?.faults[0].counts.clone();
            assert_eq!((total.failed_with("EMFILE"), total.ok), (10, 10), "round {round}");
            assert_eq!((counts.matched, counts.injected), (20, 10), "round {round}");
            Ok(())
        };
        rounds(&claim, &TEXTS, &cgroups, (2_000, 100), check)
    }

    /// The same with faults on frames, of targets with a network namespace each.
    #[test]
    fn rounds_of_random_faults_on_frames_leave_nothing() -> Result<()> {
        let claim = Quiet::acquire()?;
        require!("frames", since 4, 5; has_frames(&claim));
        require!("a delay line", since 5, 8; has_line(&claim));
        let namespaces = (0..6).map(|_| TestNetns::new()).collect::<Result<Vec<_>>>()?;
        let cgroups = (0..6)
            .map(|number| TestCgroup::new(&claim, &format!("target-{number}")))
            .collect::<Result<Vec<_>>>()?;
        let there = cgroups.iter().zip(&namespaces);
        let there =
            there.map(|(cgroup, network)| idle(Place::here().cgroup(cgroup).netns(network)));
        let _there = there.collect::<Result<Vec<_>>>()?;
        let watched = TestCgroup::new(&claim, "watched")?;
        let network = TestNetns::new()?;
        let place = || Place::here().cgroup(&watched).netns(&network);
        let _idle = idle(place())?;
        let check = |armory: &mut Armory, round| {
            arm(armory, "watched", &watched, "duplicate every 2nd egress udp")?;
            let sink = Victim::start(UdpSink { bind: "127.0.0.1:0".parse()? }, place())?;
            Victim::run(UdpSend::new(sink.address(), SENT), place())?;
            let received = sink.stop()?.received;
            let counts = disarm(armory, "watched")?.faults[0].counts.clone();
            assert_eq!(received, SENT + SENT / 2, "round {round}");
            assert_eq!((counts.matched, counts.injected), (SENT, SENT / 2), "round {round}");
            Ok(())
        };
        let many = if is_emulated() { 40 } else { 400 };
        rounds(&claim, &ON_FRAMES, &cgroups, (many, 20), check)
    }

    /// So many rounds, of which every so many is checked.
    fn rounds(
        claim: &Quiet,
        texts: &[&str],
        cgroups: &[TestCgroup],
        (many, often): (u64, u64),
        check: impl Fn(&mut Armory, u64) -> Result<()>,
    ) -> Result<()> {
        let before = Ours::take()?;
        let mut armory = Agent::new(claim)?.armory;
        // What is loaded once is loaded.
        for (number, text) in texts.iter().enumerate() {
            arm(&mut armory, &format!("first {number}"), &cgroups[0], text)?;
        }
        check(&mut armory, 0)?;
        settle(&mut armory);
        let open = descriptors()?;
        let mut armed: Vec<String> = Vec::new();
        for round in 0..many {
            let random = |of: u64| hash::nth(SEED ^ of, round) as usize;
            let (target, text) = (random(1) % cgroups.len(), texts[random(2) % texts.len()]);
            let name = format!("{target}/{}", random(3) % 4);
            if armed.contains(&name) && random(4) % 2 == 0 {
                disarm(&mut armory, &name)?;
                armed.retain(|other| *other != name);
            } else {
                arm(&mut armory, &name, &cgroups[target], text).context(name.clone())?;
                if !armed.contains(&name) {
                    armed.push(name);
                }
            }
            if round % often == 0 {
                check(&mut armory, round)?;
            }
            if round % 7 == 0 {
                assert!(armory.tick().is_empty());
            }
        }
        assert!(armed.len() > cgroups.len(), "{armed:?}");
        assert_eq!(armory.taken().texts as usize, armed.len());
        settle(&mut armory);
        assert_eq!(descriptors()?, open, "descriptors");
        drop(armory);
        // The kernel frees maps when nobody waits for it any more.
        before.settle(LATE)
    }

    /// Disarms everything, and waits until it is taken off.
    fn settle(armory: &mut Armory) {
        armory.halt("that is over");
        while armory.has_work() {
            armory.work();
        }
        sleep(LAST_FRAMES);
        // Maps are taken away a few at a time.
        for _ in 0..20 {
            armory.tick();
            while armory.has_work() {
                armory.work();
            }
        }
        assert_eq!(armory.taken(), Room { texts: 0, rules: 0 });
    }
}
