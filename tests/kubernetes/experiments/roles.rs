//! What people with the roles of the manifests can do: each what the role is for, and nothing that another is for.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::scene::{LEASE, SHOP, Scene};

/// A policy is in force about a second after it was applied.
const PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    NoRight,
    /// Refused with this in the message.
    Refused(&'static str),
}
use Fate::{Done, NoRight, Refused};

/// A run that breaks nothing: no pod has the label.
fn run(name: &str) -> Value {
    json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run",
        "metadata": { "name": name, "namespace": SHOP },
        "spec": { "mode": "Plan", "inline": spec() } })
}

fn experiment(name: &str) -> Value {
    json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Experiment",
        "metadata": { "name": name, "namespace": SHOP }, "spec": spec() })
}

fn spec() -> Value {
    json!({
        "targets": { "none": { "pods": { "matchLabels": { "app": "none" } } } },
        "steps": [{ "name": "slow", "fault": { "target": "none", "do": "drop egress tcp", "for": "1m" } }],
    })
}

/// kubectl as somebody else, as an admin may.
fn attempt(scene: &Scene, user: &str, args: &[&str], input: &Value) -> Result<String> {
    let user = format!("--as={user}");
    let args: Vec<&str> = args.iter().copied().chain([user.as_str()]).collect();
    let kubeconfig = scene.plane.kubeconfig(chaos_tests::control_plane::Identity::Admin);
    scene.plane.kubectl_with(kubeconfig, &args, &input.to_string())
}

fn check(scene: &Scene, user: &str, args: &[&str], input: &Value, expected: Fate) -> Result<()> {
    let found = attempt(scene, user, args, input).map_err(|error| format!("{error:#}"));
    let is_so = match (&found, expected) {
        (Ok(_), Done) => true,
        (Err(error), NoRight) => error.contains(&format!("User \"{user}\" cannot")),
        (Err(error), Refused(why)) => error.contains(why),
        (Ok(_), NoRight | Refused(_)) | (Err(_), Done) => false,
    };
    ensure!(is_so, "{user} {args:?}: {expected:?} was expected: {found:?}");
    Ok(())
}

fn bind(scene: &Scene, role: &str, user: &str, namespace: &str) -> Result<()> {
    let of = format!("--user={user}");
    let bind = ["create", "rolebinding", user, role, &of, "--namespace", namespace];
    scene.plane.kubectl(&bind).map(drop)
}

#[test]
fn each_role_can_do_what_it_is_for_and_no_more() -> Result<()> {
    let scene = Scene::set()?;
    let Scene { plane, .. } = &scene;
    for role in ["viewer", "runner", "author", "halter"] {
        bind(&scene, &format!("--clusterrole=chaos-{role}"), role, SHOP)?;
    }
    bind(&scene, "--role=chaos-lever", "halter", "chaos-agent")?;
    plane.apply(&run("there").to_string())?;
    plane.apply(&experiment("there").to_string())?;

    let nothing = json!(null);
    let list = ["get", "runs,experiments", "--namespace", SHOP];
    let create = ["create", "--filename=-", "--dry-run=server"];
    let halt = [
        "patch",
        "run",
        "there",
        "--type=merge",
        r#"--patch={"spec":{"halt":true}}"#,
        "--namespace",
        SHOP,
        "--dry-run=server",
    ];
    let mode = [
        "patch",
        "run",
        "there",
        "--type=merge",
        r#"--patch={"spec":{"mode":"Armed"}}"#,
        "--namespace",
        SHOP,
        "--dry-run=server",
    ];
    let pod = ["delete", "pod", "web-0", "--namespace", SHOP, "--dry-run=server"];
    let users = ["viewer", "runner", "author", "halter"];
    let rows: [(&[&str], Value, [Fate; 4]); 6] = [
        (&list, nothing.clone(), [Done; 4]),
        (&create, run("new"), [NoRight, Done, NoRight, NoRight]),
        (&create, experiment("new"), [NoRight, NoRight, Done, NoRight]),
        (&halt, nothing.clone(), [NoRight, Done, NoRight, Done]),
        (
            &mode,
            nothing.clone(),
            [
                NoRight,
                Refused("the mode of a run must not change"),
                NoRight,
                Refused("the mode of a run must not change"),
            ],
        ),
        (&pod, nothing.clone(), [NoRight; 4]),
    ];
    for (args, input, fates) in rows {
        for (user, fate) in users.into_iter().zip(fates) {
            check(&scene, user, args, &input, fate)?;
        }
    }
    Ok(())
}

#[test]
fn nobody_lends_an_account_that_is_not_his() -> Result<()> {
    let scene = Scene::set()?;
    for role in ["author", "halter", "runner"] {
        bind(&scene, &format!("--clusterrole=chaos-{role}"), role, SHOP)?;
    }
    bind(&scene, "--clusterrole=chaos-author", "editor", SHOP)?;
    for create in [
        ["create", "role", "pods", "--verb=create", "--resource=pods"],
        ["create", "rolebinding", "pods", "--role=pods", "--user=editor"],
    ] {
        scene.plane.kubectl(&[&create[..], &["--namespace", SHOP]].concat())?;
    }
    let lent = |object: Value| {
        let mut object = object;
        let spec = match object["kind"].as_str() {
            Some("Run") => &mut object["spec"]["inline"],
            _ => &mut object["spec"],
        };
        spec["serviceAccountName"] = json!("chaos");
        object
    };
    scene.plane.apply(&lent(experiment("there")).to_string())?;
    scene.plane.apply(&lent(run("there")).to_string())?;
    let create = ["create", "--filename=-", "--dry-run=server"];
    let why = "needs the right to impersonate it, or to create pods in namespace shop";
    let author = || check(&scene, "author", &create, &lent(experiment("new")), Refused(why));
    let give_up = Instant::now() + PATIENCE;
    while let Err(error) = author() {
        ensure!(Instant::now() < give_up, "{error:#}");
        thread::sleep(LEASE / 10);
    }
    check(&scene, "runner", &create, &lent(run("new")), Refused(why))?;
    check(&scene, "editor", &create, &lent(experiment("new")), Done)?;
    // What is there may be halted, and what is not the account's changed.
    let change = |kind: &'static str, change: &'static str| {
        ["patch", kind, "there", "--type=merge", "--dry-run=server", "--namespace=shop", change]
    };
    let nothing = json!(null);
    let halt = change("run", r#"--patch={"spec":{"halt":true}}"#);
    check(&scene, "halter", &halt, &nothing, Done)?;
    let label = change("experiment", r#"--patch={"metadata":{"labels":{"a":"b"}}}"#);
    check(&scene, "author", &label, &nothing, Done)?;
    let other = change("experiment", r#"--patch={"spec":{"hypothesis":"it holds"}}"#);
    check(&scene, "author", &other, &nothing, Refused(why))?;
    // With the right to be the account, its name may be written.
    let role = ["create", "role", "is-chaos", "--verb=impersonate", "--resource=serviceaccounts"];
    let of = ["--resource-name=chaos", "--namespace", SHOP];
    scene.plane.kubectl(&[&role[..], &of].concat())?;
    let binding = ["create", "rolebinding", "is-chaos", "--role=is-chaos", "--user=author"];
    scene.plane.kubectl(&[&binding[..], &["--namespace", SHOP]].concat())?;
    let give_up = Instant::now() + PATIENCE;
    while let Err(error) = check(&scene, "author", &other, &nothing, Done) {
        ensure!(Instant::now() < give_up, "{error:#}");
        thread::sleep(LEASE / 10);
    }
    Ok(())
}

#[test]
fn whoever_may_halt_the_cluster_can_not_lead_it() -> Result<()> {
    let scene = Scene::set()?;
    bind(&scene, "--role=chaos-lever", "halter", "chaos-agent")?;
    let _controller = scene.controller("one")?;
    let patch = |what: &str| {
        let patch = format!("--patch={what}");
        let args = [
            "patch",
            "lease",
            "chaos-controller",
            "--namespace=chaos-agent",
            "--type=merge",
            &patch,
        ];
        attempt(&scene, "halter", &args, &json!(null))
    };
    let holder = r#"{"spec":{"holderIdentity":"halter","leaseDurationSeconds":3600}}"#;
    let lead = "only the controller may change who leads";
    let give_up = Instant::now() + PATIENCE;
    // The Lease has to be there, and the policy in force.
    loop {
        let found = patch(holder);
        if found.as_ref().is_err_and(|error| format!("{error:#}").contains(lead)) {
            break;
        }
        if Instant::now() > give_up {
            bail!("the holder could be changed: {found:?}");
        }
        thread::sleep(LEASE / 10);
    }
    let only = "you may change the annotation chaos-agent.dev/halt only";
    for (what, refusal) in [
        (r#"{"metadata":{"annotations":{"chaos-agent.dev/halted-runs":"shop/x"}}}"#, only),
        (r#"{"metadata":{"labels":{"a":"b"}}}"#, only),
        (r#"{"metadata":{"finalizers":["example.com/x"]}}"#, only),
        (r#"{"metadata":{"annotations":{"chaos-agent.dev/halt":"x","other":"y"}}}"#, only),
    ] {
        let refused = patch(what).expect_err(what);
        ensure!(format!("{refused:#}").contains(refusal), "{what}: {refused:#}");
    }
    for reason in [r#""INC-4711""#, "null"] {
        patch(&format!(r#"{{"metadata":{{"annotations":{{"chaos-agent.dev/halt":{reason}}}}}}}"#))?;
    }
    for args in [
        ["delete", "lease", "chaos-controller", "--namespace=chaos-agent"],
        ["get", "leases", "--namespace=chaos-agent", "--output=name"],
    ] {
        check(&scene, "halter", &args, &json!(null), NoRight)?;
    }
    Ok(())
}
