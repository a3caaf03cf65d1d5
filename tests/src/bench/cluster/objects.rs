//! Makes the nodes and pods of a cluster at the API server, as scheduler and kubelets would.

use std::{collections::BTreeMap, future::Future};

use anyhow::{Context, Result};
use chaos_arm::fake::Shared;
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{Node, Pod, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The namespace that allows faults.
pub const SHOP: &str = "shop";

/// Where the agents are, and what their account is called.
pub const AGENTS: &str = "chaos-agent";

/// Requests under way at the same time.
const AT_ONCE: usize = 32;

pub fn node(number: usize) -> String {
    format!("node-{number}")
}

/// The pod of a node's agent.
pub fn agent_on(node: &str) -> String {
    format!("chaos-agent-{node}")
}

/// Makes the nodes, with a pod for the agent of each that is ready. The tokens of agents by node.
pub async fn make_nodes(client: &Client, count: usize) -> Result<BTreeMap<String, String>> {
    let tokens = each(count, |number| {
        let client = client.clone();
        async move {
            let name = node(number);
            let object: Node = object(json!({ "metadata": { "name": name } }))?;
            Api::all(client.clone()).create(&PostParams::default(), &object).await?;
            let agent = agent_on(&name);
            let pods: Api<Pod> = Api::namespaced(client.clone(), AGENTS);
            let pod = object_of_agent(&agent, &name)?;
            pods.create(&PostParams::default(), &pod).await?;
            let ready = json!({ "status": { "phase": "Running",
                "conditions": [{ "type": "Ready", "status": "True" }] } });
            pods.patch_status(&agent, &PatchParams::default(), &Patch::Merge(ready)).await?;
            let asked: TokenRequest = self::object(json!({ "spec": {
                "audiences": [], "expirationSeconds": 7200,
                "boundObjectRef": { "apiVersion": "v1", "kind": "Pod", "name": agent } } }))?;
            let accounts: Api<ServiceAccount> = Api::namespaced(client, AGENTS);
            let token =
                accounts.create_token_request(AGENTS, &PostParams::default(), &asked).await?;
            let token = token.status.context("a token request has an answer")?.token;
            Ok((name, token))
        }
    });
    Ok(tokens.await?.into_iter().collect())
}

/// Makes pods that serve, on the nodes in turn, and the cgroups in which agents find them.
pub async fn make_pods(client: &Client, count: usize, nodes: usize, world: &Shared) -> Result<()> {
    let made = each(count, |number| {
        let client = client.clone();
        async move {
            let pods: Api<Pod> = Api::namespaced(client, SHOP);
            let name = format!("web-{number}");
            let pod = object(pod(&name, &node(number % nodes)))?;
            let made = pods.create(&PostParams::default(), &pod).await?;
            let status = Patch::Merge(serving(number));
            pods.patch_status(&name, &PatchParams::default(), &status).await?;
            Ok((made.uid().context("a pod has a UID")?, container(number)))
        }
    });
    for (uid, container) in made.await? {
        world.lock().pods.insert(uid, [container.parse()?].into());
    }
    Ok(())
}

/// Does something `count` times, some of them at once.
async fn each<T: Send + 'static, F>(count: usize, act: impl Fn(usize) -> F) -> Result<Vec<T>>
where
    F: Future<Output = Result<T>> + Send + 'static,
{
    let (mut under_way, mut done) = (JoinSet::new(), Vec::new());
    for number in 0..count {
        if under_way.len() == AT_ONCE
            && let Some(one) = under_way.join_next().await
        {
            done.push(one??);
        }
        under_way.spawn(act(number));
    }
    while let Some(one) = under_way.join_next().await {
        done.push(one??);
    }
    Ok(done)
}

fn object<K: serde::de::DeserializeOwned>(value: Value) -> Result<K> {
    serde_json::from_value(value).context("an object")
}

fn object_of_agent(name: &str, node: &str) -> Result<Pod> {
    object(json!({
        "metadata": { "name": name, "labels": { "app.kubernetes.io/name": "chaos-agent" } },
        "spec": { "nodeName": node, "serviceAccountName": AGENTS,
                  "containers": [{ "name": "main", "image": "none" }] },
    }))
}

fn container(number: usize) -> String {
    format!("containerd://{number:064x}")
}

/// About as large as pods are: two containers with variables, volumes and probes.
fn pod(name: &str, node: &str) -> Value {
    let variables: Vec<Value> = (0..12)
        .map(|number| json!({ "name": format!("SETTING_{number}"), "value": "x".repeat(40) }))
        .collect();
    let probe = json!({ "httpGet": { "path": "/healthz", "port": 8080 }, "periodSeconds": 5 });
    let container = |container: &str| {
        json!({ "name": container, "image": format!("registry.example/shop/{container}:1.27.3"),
            "env": variables, "ports": [{ "containerPort": 8080, "name": "http" }],
            "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "256Mi" } },
            "livenessProbe": probe, "readinessProbe": probe,
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }, { "name": "settings", "mountPath": "/etc/shop" }] })
    };
    json!({
        "metadata": { "name": name,
            "labels": { "app": "web", "app.kubernetes.io/part-of": "shop", "app.kubernetes.io/version": "1.27.3",
                        "pod-template-hash": "6d4cf56db6" },
            "annotations": { "prometheus.io/scrape": "true", "checksum/config": "5".repeat(64) } },
        "spec": { "nodeName": node, "containers": [container("main"), container("proxy")],
            "volumes": [{ "name": "data", "emptyDir": {} },
                        { "name": "settings", "configMap": { "name": "settings" } }] },
    })
}

fn serving(number: usize) -> Value {
    let address = format!("10.{}.{}.{}", 100 + number / 65536, number / 256 % 256, number % 256);
    let since = "2026-11-28T10:00:00Z";
    let conditions =
        ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
            .map(|name| json!({ "type": name, "status": "True", "lastTransitionTime": since }));
    let status = |name: &str, id: String| {
        json!({ "name": name, "image": format!("registry.example/shop/{name}:1.27.3"),
            "imageID": format!("registry.example/shop/{name}@sha256:{}", "a".repeat(64)),
            "containerID": id, "ready": true, "started": true, "restartCount": 0,
            "state": { "running": { "startedAt": since } } })
    };
    json!({ "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
        "hostIP": "192.0.2.7", "startTime": since, "conditions": conditions,
        "containerStatuses": [status("main", container(number)),
                              status("proxy", format!("containerd://{:0>64}", format!("f{number:x}")))] } })
}
