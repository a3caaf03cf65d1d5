//! Names of peers in sentences: on pods stand the addresses that are behind them, and they follow.

use anyhow::Result;
use chaos_api::kinds::Reason;
use serde_json::{Value, json};

use super::scene::{SHOP, Scene, one_step};

/// A slice of endpoints of Service `db`, as the control plane would write it.
fn slice(endpoints: &Value) -> String {
    json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": "db-1", "namespace": SHOP, "labels": { "kubernetes.io/service-name": "db" } },
        "endpoints": endpoints, "ports": [{ "name": "sql", "port": 15432, "protocol": "TCP" }] })
    .to_string()
}

/// The peer of the sentence on the only pod that has one.
fn peer(scene: &Scene) -> Result<Option<String>> {
    let texts = scene.texts()?;
    let sentence = texts.values().next().and_then(|text| text.lines().nth(1));
    let peer = sentence.and_then(|sentence| sentence.split(" to ").nth(1));
    Ok(peer.and_then(|peer| peer.split(" for ").next()).map(str::to_owned))
}

fn await_peer(scene: &Scene, expected: &str) -> Result<()> {
    scene.await_that("a peer", || {
        scene.answer()?;
        let found = peer(scene)?;
        Ok(if found.as_deref() == Some(expected) { Ok(()) } else { Err(found) })
    })
}

#[test]
fn names_stand_for_addresses_which_are_followed() -> Result<()> {
    let scene = Scene::set()?;
    let service = json!({ "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "db", "namespace": SHOP },
        "spec": { "clusterIP": "None", "selector": { "app": "db" }, "ports": [{ "name": "sql", "port": 5432 }] } });
    scene.plane.apply(&service.to_string())?;
    scene.plane.apply(&slice(&json!([{ "addresses": ["10.244.9.1"] }])))?;
    let _controller = scene.controller("a")?;
    let with_peers = |sentence: &str, peers: Value| {
        let mut spec = one_step(json!(1), "5m");
        spec["steps"][0]["fault"]["do"] = json!(sentence);
        spec["peers"] = peers;
        json!({ "inline": spec })
    };
    let peers = json!({ "db": { "service": "db" }, "out": { "cidr": ["192.0.2.0/24"], "dns": ["localhost"] } });
    scene.run("run", with_peers("drop egress tcp to @db", peers.clone()))?;
    // A headless Service has no address of its own.
    await_peer(&scene, "10.244.9.1 port 5432, 15432")?;
    scene.await_run("run", |status| status.targets.armed == 1 && status.ledger.matched == 10)?;
    let endpoints = json!([{ "addresses": ["10.244.9.2"] }, { "addresses": ["10.244.9.3"], "conditions": { "ready": false } }]);
    scene.plane.apply(&slice(&endpoints))?;
    await_peer(&scene, "10.244.9.2 port 5432, 15432")?;
    // What was counted with the other address counts on. Where nothing is left, the last one stays.
    scene.await_run("run", |status| status.targets.armed == 1 && status.ledger.matched == 20)?;
    scene.plane.apply(&slice(&json!([])))?;
    let told = scene
        .await_run("run", |status| status.targets.armed == 1 && !status.exceptions.is_empty())?;
    let message = &told.exceptions[0].message;
    assert!(message.contains("`@db`: it stands for no address"), "{told:?}");
    assert_eq!(peer(&scene)?.as_deref(), Some("10.244.9.2 port 5432, 15432"));
    scene.halt("run")?;
    scene.await_end("run")?;

    scene.run("none", with_peers("drop egress tcp to @db", peers.clone()))?;
    let refused = scene.await_end("none")?;
    assert_eq!(refused.reason, Some(Reason::Refused));
    assert!(refused.message.contains("`@db`: it stands for no address"), "{refused:?}");
    scene.run("unknown", with_peers("drop egress tcp to @cache", peers.clone()))?;
    let refused = scene.await_end("unknown")?;
    assert!(refused.message.contains("`@cache` is no peer; there are: db, out"), "{refused:?}");
    scene.run("out", with_peers("drop egress tcp to @out port 443", peers))?;
    scene.await_that("the name", || {
        let found = peer(&scene)?.unwrap_or_default();
        let is_it = found.contains("127.0.0.1") && found.contains("192.0.2.0/24 port 443")
            || found.contains("127.0.0.1") && found.ends_with("port 443");
        Ok(if is_it { Ok(()) } else { Err(found) })
    })
}
