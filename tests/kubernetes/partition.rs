//! `drop to pod`: a pod cut off from another one, wherever that is.

use std::{
    net::{IpAddr, SocketAddr},
    thread::sleep,
    time::Duration,
};

use anyhow::Result;
use chaos_kube::{FAULTS, PodPhase, Status};
use chaos_tests::{
    job::{UdpSend, UdpSink},
    kubelet::{Pod, PodSpec},
    netns::End,
    victim::Victim,
};

use crate::cluster::{Cluster, GRACE, SHOP};

const SENT: u64 = 200;

/// A namespace that allows no faults, which naming its pods needs not.
const PAYMENTS: &str = "payments";

/// How many of the datagrams of one pod arrive at an address of another.
fn arrived(from: &Pod, to: &Pod, address: IpAddr) -> Result<u64> {
    let sink = UdpSink { bind: SocketAddr::new(address, 0) };
    let sink = Victim::start(sink, to.place("main"))?;
    let sent = Victim::run(UdpSend::new(sink.address(), SENT), from.place("main"))?.total();
    assert_eq!((sent.ok, sent.failed()), (SENT, 0));
    sleep(Duration::from_millis(100));
    Ok(sink.stop()?.received)
}

fn of(end: &End) -> [IpAddr; 2] {
    [end.v4.into(), end.v6.into()]
}

#[test]
fn a_pod_is_cut_off_from_another_wherever_that_goes() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.namespace(PAYMENTS, false)?;
    let kubelet = cluster.kubelet()?;
    let web = kubelet.run(&PodSpec::new(SHOP, "web-0"))?;
    let db = kubelet.run(&PodSpec::new(PAYMENTS, "db"))?;
    let (here, first) = web.netns.veth(&db.netns, 0)?;
    let (_, second) = web.netns.veth(&db.netns, 1)?;
    let _agent = cluster.agent(GRACE)?;

    // It has been started, but has no address yet.
    let text = "drop to pod payments/db for 10m\ndrop from pod payments/db for 10m";
    cluster.annotate(&web, Some(text))?;
    let refused = cluster.await_status(&web, |status| status.phase == PodPhase::Refused)?;
    assert!(refused.messages[0].contains("payments/db has no address yet"), "{refused:?}");

    kubelet.set_addresses(&db, &of(&first))?;
    let armed = cluster.await_status(&web, |status| status.phase == PodPhase::Armed)?;
    assert_eq!(armed.faults[0].fault, "drop to pod payments/db for 10m");
    for address in of(&first) {
        assert_eq!(arrived(&web, &db, address)?, 0, "{address}");
    }
    for address in of(&second) {
        assert_eq!(arrived(&web, &db, address)?, SENT, "{address}");
    }
    for address in of(&here) {
        // Its neighbour sends from the address that faces this one.
        assert_eq!(arrived(&db, &web, address)?, 0, "{address}");
    }
    let lost = |status: &Status, fault: usize| status.faults[fault].counts.injected;
    cluster
        .await_status(&web, |status| lost(status, 0) == 2 * SENT && lost(status, 1) == 2 * SENT)?;

    // It moves. The fault goes with it, and goes on counting.
    kubelet.set_addresses(&db, &of(&second))?;
    let healed = || arrived(&web, &db, first.v4.into());
    while healed()? == 0 {
        sleep(Duration::from_millis(100));
    }
    for address in of(&first) {
        assert_eq!(arrived(&web, &db, address)?, SENT, "{address}");
    }
    for address in of(&second) {
        assert_eq!(arrived(&web, &db, address)?, 0, "{address}");
    }
    let moved = cluster.await_status(&web, |status| lost(status, 0) >= 4 * SENT)?;
    assert_eq!(moved.faults[0].since, armed.faults[0].since);
    assert_eq!(moved.faults[0].until, armed.faults[0].until);
    assert_eq!(moved.faults[0].counts.imbalance(), 0, "{moved:?}");

    // When it has ended, so has the fault.
    kubelet.finish(&db)?;
    let gone = cluster.await_status(&web, |status| status.phase == PodPhase::Refused)?;
    assert!(gone.messages[0].contains("payments/db is not on this node"), "{gone:?}");
    assert_eq!(arrived(&web, &db, second.v4.into())?, SENT);
    Ok(())
}

#[test]
fn pods_that_cannot_be_told_by_their_addresses_are_refused() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let web = kubelet.run(&PodSpec::new(SHOP, "web-0"))?;
    let proxy = kubelet.run_on_network_of(&web, &PodSpec::new(SHOP, "proxy"))?;
    kubelet.set_addresses(&proxy, &["192.0.2.7".parse()?])?;
    let _agent = cluster.agent(GRACE)?;
    for (text, reason) in [
        ("drop to pod shop/proxy", "pod shop/proxy has the addresses of its node"),
        ("drop 10%; drop from pod shop/nowhere", "pod shop/nowhere is not on this node"),
    ] {
        cluster.annotate(&web, Some(text))?;
        let refused = cluster.await_status(&web, |status| {
            status.messages.iter().any(|message| message.contains(reason))
        })?;
        assert_eq!(refused.phase, PodPhase::Refused, "{text}");
        assert!(refused.messages[0].contains("write its address"), "{refused:?}");
    }

    // It comes later.
    let late = PodSpec::new(SHOP, "nowhere").annotation(FAULTS, "drop to pod shop/nowhere");
    let late = kubelet.run(&late)?;
    kubelet.set_addresses(&late, &["10.0.0.9".parse()?])?;
    cluster.await_status(&web, |status| status.phase == PodPhase::Armed)?;
    cluster.await_status(&late, |status| status.phase == PodPhase::Armed)?;
    Ok(())
}
