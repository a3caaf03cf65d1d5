//! The guards themselves: what they make goes away, and what stays behind is noticed.

use std::{fs, process::Command, time::Duration};

use anyhow::{Result, ensure};
use aya::maps::{Array, MapData};
use chaos_tests::{
    cgroup::TestCgroup,
    job::{UdpSend, UdpSink},
    machine::{Quiet, Shared},
    netns::TestNetns,
    process::{Place, Process},
    residue::Snapshot,
    victim::Victim,
};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn nothing_of_a_test_stays_behind() -> Result<()> {
    let quiet = Quiet::acquire()?;
    let netns = TestNetns::new()?;
    let before = Snapshot::take(&quiet, &[&netns])?;
    {
        let cgroup = TestCgroup::new(&quiet, "leaf")?;
        let inner = cgroup.child("kubepods/burstable/pod1")?;
        let peer = TestNetns::new()?;
        let (_, end) = netns.veth(&peer, 3)?;
        let place = Place::here().cgroup(&inner).netns(&peer);
        let sink = Victim::start(UdpSink { bind: end.socket_v4(0) }, place)?;
        Victim::run(UdpSend::new(sink.address(), 10), Place::here().netns(&netns))?;
        let diff = before.diff(&Snapshot::take(&quiet, &[&netns])?);
        assert!(diff.to_string().contains("kubepods/burstable/pod1"), "{diff}");
        assert!(diff.to_string().contains("eth3"), "{diff}");
    }
    before.settle(&quiet, &[&netns])?.assert_empty();
    Ok(())
}

#[test]
fn leftovers_of_every_kind_are_noticed() -> Result<()> {
    let quiet = Quiet::acquire()?;
    let (netns, peer) = (TestNetns::new()?, TestNetns::new()?);
    netns.veth(&peer, 0)?;
    let before = Snapshot::take(&quiet, &[&netns])?;
    let notices = |what: &str| -> Result<()> {
        let diff = before.diff(&Snapshot::take(&quiet, &[&netns])?);
        ensure!(diff.to_string().contains(what), "{what} was not noticed:\n{diff}");
        Ok(())
    };
    {
        let _map = Array::<MapData, u32>::create(1, 0)?;
        notices("+ bpf map ")?;
    }
    tc(&netns, "qdisc add dev eth0 clsact")?;
    notices("+ namespace 0: qdisc clsact")?;
    tc(&netns, "filter add dev eth0 egress protocol ip u32 match u32 0 0 classid 1:1")?;
    notices("+ namespace 0: eth0 egress filter")?;
    tc(&netns, "qdisc del dev eth0 clsact")?;
    netns.ip("link add tap0 type ifb\n")?;
    notices("tap0")?;
    netns.ip("link del tap0\n")?;
    before.settle(&quiet, &[&netns])?.assert_empty();
    Ok(())
}

#[test]
fn processes_run_where_they_were_put_and_die_with_their_guard() -> Result<()> {
    let shared = Shared::acquire()?;
    let cgroup = TestCgroup::new(&shared, "place")?;
    let netns = TestNetns::new()?;
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 1000 & sleep 1001 & readlink /proc/self/ns/net; echo; wait"]);
    let process = Process::spawn(shell, Place::here().cgroup(&cgroup).netns(&netns))?;
    assert_eq!(process.line(SOON)?, format!("net:[{}]", netns.inode()?));
    // The shell has reaped readlink by its next line.
    process.line(SOON)?;
    let members = cgroup.processes()?;
    assert!(members.contains(&process.pid().as_raw().try_into()?));
    assert_eq!(members.len(), 3, "forks belong to the same cgroup");

    let path = cgroup.path().to_owned();
    drop(cgroup);
    assert!(!path.exists());
    for pid in members {
        let running = fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "));
        assert!(!running, "process {pid} survived its cgroup");
    }
    Ok(())
}

#[test]
fn a_cgroups_id_is_what_the_kernel_calls_it() -> Result<()> {
    let shared = Shared::acquire()?;
    let cgroup = TestCgroup::new(&shared, "id")?;
    let child = cgroup.child("a/b")?;
    assert_ne!(cgroup.id()?, child.id()?);
    assert!(child.path().starts_with(cgroup.path()));
    Ok(())
}

fn tc(netns: &TestNetns, arguments: &str) -> Result<()> {
    let status = netns.command("tc").args(arguments.split(' ')).status()?;
    ensure!(status.success(), "tc {arguments}: {status}");
    Ok(())
}
