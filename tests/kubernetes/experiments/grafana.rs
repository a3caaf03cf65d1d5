//! What a Grafana is told of runs, by one controller and by the next.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    failures::await_holder,
    scene::{Controller, Scene, one_step},
    service::{Answer, Asked, Service},
};

const PAGE: &str = "/api/annotations";

/// What was written, once there are so many.
fn await_written(scene: &Scene, service: &Service, count: usize) -> Result<Vec<Asked>> {
    scene.await_that("annotations", || {
        scene.answer()?;
        let all = service.requests();
        let written: Vec<Asked> = all.into_iter().filter(|one| one.method != "GET").collect();
        Ok(if written.len() == count { Ok(written) } else { Err(written) })
    })
}

#[test]
fn runs_are_marked_in_grafana_once_by_whoever_leads() -> Result<()> {
    let (scene, service) = (Scene::set()?, Service::start()?);
    let directory = tempfile::tempdir()?;
    let token = directory.path().join("token");
    std::fs::write(&token, "a-token\n")?;
    let set = |page: String, body: Value| {
        service.set(&page, Answer { body: body.to_string(), ..Answer::of(200) });
    };
    set(format!("GET {PAGE}"), json!([]));
    set(format!("POST {PAGE}"), json!({ "message": "Annotation added", "id": 41 }));
    set(format!("PATCH {PAGE}/41"), json!({ "message": "Annotation patched" }));
    let options = [
        format!("--grafana={}", service.url()),
        format!("--grafana-token-file={}", token.display()),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let first = Controller::start_with(&scene.account, "first", &options)?;
    await_holder(&scene, "first")?;
    scene.experiment("slow", one_step(json!(1), "5m"))?;
    let run = scene.run("run", json!({ "experiment": "slow" }))?;
    let begun = await_written(&scene, &service, 1)?.remove(0);
    let begun_as: Value = serde_json::from_str(&begun.body).context("a body is JSON")?;
    let uid = run.metadata.uid.context("a run has a UID")?;
    let tags =
        ["chaos-agent", "namespace:shop", "experiment:slow", "run:run", &format!("run:{uid}")];
    assert_eq!((begun.method.as_str(), &begun_as["tags"]), ("POST", &json!(tags)));
    assert_eq!(begun.authorization.as_deref(), Some("Bearer a-token"));

    // The next one finds what the first has told.
    let time = begun_as["time"].as_i64().context("an annotation has a time")?;
    set(format!("GET {PAGE}"), json!([{ "id": 41, "time": time, "timeEnd": time }]));
    scene.await_run("run", |status| status.ledger.matched > 0)?;
    first.stop()?;
    let second = Controller::start_with(&scene.account, "second", &options)?;
    await_holder(&scene, "second")?;
    scene.halt("run")?;
    scene.await_end("run")?;
    let written = await_written(&scene, &service, 2)?;
    let ended = &written[1];
    assert_eq!((ended.method.as_str(), ended.page.as_str()), ("PATCH", "/api/annotations/41"));
    let ended: Value = serde_json::from_str(&ended.body).context("a body is JSON")?;
    assert!(ended["timeEnd"].as_i64().is_some_and(|end| end >= time), "{ended}");
    let text = ended["text"].as_str().context("an annotation has a text")?;
    let title = "Run shop/run of experiment slow has ended: Halted\nVerdict: Confirmed";
    assert!(text.starts_with(title) && text.contains("\nHypothesis: none"), "{text}");
    second.stop()
}
