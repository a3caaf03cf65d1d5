//! What a pipeline does: it breaks a container until a page fails, and keeps the report; or it has nothing but the API.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_api::kinds::{Reason, Run, RunPhase, Verdict};
use kube::ResourceExt as _;
use serde_json::json;

use super::plugin::User;
use crate::experiments::{
    scene::{Controller, SHOP, Scene, serve},
    service::{Answer, Service},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A Deployment of two pods with a container `server`.
fn cart(scene: &Scene) -> Result<()> {
    let labels = json!({ "app": "cartservice" });
    let containers =
        json!([{ "name": "server", "image": "none" }, { "name": "proxy", "image": "none" }]);
    let deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "cartservice", "namespace": SHOP },
        "spec": { "replicas": 0, "selector": { "matchLabels": labels },
                  "template": { "metadata": { "labels": labels }, "spec": { "containers": containers } } } });
    scene.plane.apply(&deployment.to_string())?;
    for name in ["cart-0", "cart-1"] {
        let pod = json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": SHOP, "labels": labels },
            "spec": { "nodeName": "node-a", "containers": containers } });
        scene.plane.apply(&pod.to_string())?;
        serve(&scene.plane, SHOP, name)?;
    }
    let verbs = "chaos-agent.dev/allow-verbs=default, kill container";
    scene.plane.kubectl(&["annotate", "namespace", SHOP, verbs])?;
    Ok(())
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory)?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

#[test]
fn a_container_is_killed_until_the_page_fails_and_the_report_is_kept() -> Result<()> {
    let (scene, service) = (Scene::set()?, Service::start()?);
    let networks = ["--probe-networks=127.0.0.0/8"];
    let _controller = Controller::start_with(&scene.account, "a", &networks)?;
    cart(&scene)?;
    let user = User::new(&scene.plane, "ada", &["chaos-runner", "chaos-reporter"], &[])?;
    let directory = tempfile::tempdir()?;
    let junit = directory.path().join("chaos.xml").display().to_string();
    let lost = directory.path().join("none/chaos.md").display().to_string();
    let (kept, lost) = (format!("junit={junit}"), format!("md={lost}"));
    let probe = format!("{}/cart expect status < 500", service.url());

    let what =
        ["run", "deploy/cartservice", "kill container", "--container", "server", "--pick", "1"];
    let probes = ["--probe", &probe, "--during", "Halt", "--for", "2m", "--name", "killed"];
    let wait = ["--wait", "--report", &lost, "--report", &kept];
    let mut watching = user.begins_aloud(&[&what[..], &probes, &wait].concat())?;
    scene.await_that("the Run", || {
        let run = scene.runtime.block_on(scene.runs().get_opt("killed"))?;
        Ok(run.map(|_| ()).ok_or("it is not made yet"))
    })?;
    scene.await_run("killed", |status| status.ledger.matched > 0)?;
    let texts = scene.texts()?;
    let text = texts.values().next().context("a text")?;
    ensure!(
        texts.len() == 1 && text.contains("\nkill container in container server for "),
        "{texts:?}"
    );
    service.set("/cart", Answer::of(500));
    scene.await_run("killed", |status| status.phase == RunPhase::Recovering)?;
    service.heal();
    scene.await_end("killed")?;

    // That one report cannot be written is told, and what the Run has found is the exit code.
    ensure!(watching.wait(PATIENCE)?.code() == Some(3));
    let lines: Vec<String> = watching.remaining_lines().collect();
    ensure!(lines.iter().any(|line| line.contains("cannot write the report to")), "{lines:#?}");
    let report = fs::read_to_string(&junit)?;
    ensure!(report.contains("<failure type=\"ProbeBroke\"") && report.ends_with(">\n"), "{report}");
    ensure!(names(directory.path())? == ["chaos.xml"]);
    let again = ["report", "killed", "-o", "junit", "--file"];
    let missing = directory.path().join("none/chaos.xml").display().to_string();
    let cannot = &["error: cannot write the report to", "No such file"];
    user.says(&[&again[..], &[&missing]].concat())?.expect(1, cannot)?;
    user.says(&[&again[..], &[&missing, "--exit-code"]].concat())?.expect(3, cannot)?;
    let written = user.says(&[&again[..], &[&junit, "--exit-code"]].concat())?.expect(3, &[])?;
    ensure!(written.output.is_empty() && fs::read_to_string(&junit)? == report);
    Ok(())
}

#[test]
fn a_run_is_made_and_halted_with_nothing_but_the_api() -> Result<()> {
    let (scene, service) = (Scene::set()?, Service::start()?);
    let networks = ["--probe-networks=127.0.0.0/8"];
    let _controller = Controller::start_with(&scene.account, "a", &networks)?;
    cart(&scene)?;
    let user = User::new(&scene.plane, "ada", &["chaos-runner"], &[])?;
    let sample = xtask::paths::workspace().join("manifests/samples/cases/cart.json");
    let sample = fs::read_to_string(sample)?.replace("http://frontend.shop", &service.url());
    let path = format!("/apis/chaos-agent.dev/v1alpha1/namespaces/{SHOP}/runs");
    let post = ["create", "--raw", &path, "--filename=-"];
    let made = scene.plane.kubectl_with(user.kubeconfig(), &post, &sample)?;
    let made: Run = serde_json::from_str(&made).context("a Run")?;
    let name = made.name_any();
    ensure!(name.starts_with("cart-"), "{name}");
    scene.await_run(&name, |status| status.targets.armed == 1)?;
    let patch = ["patch", "run", &name, "--namespace", SHOP, "--type=merge"];
    let halt = [&patch[..], &["--patch", r#"{"spec": {"halt": true}}"#]].concat();
    scene.plane.kubectl_with(user.kubeconfig(), &halt, "")?;
    let status = scene.await_end(&name)?;
    let expected = (Some(Reason::Halted), Some(Verdict::Confirmed));
    ensure!((status.reason, status.verdict) == expected, "{status:#?}");
    Ok(())
}
