//! What a Grafana is told that is well, that fails, and that does not answer.

mod server;

use std::time::Instant;

use serde_json::{Value, json};
use tokio::time::sleep;

use self::server::{Mood, Server};
use super::*;

/// A run that breaks pods since 10:00, and has ended if it is said when.
pub fn run(name: &str, ended: Option<&str>) -> Run {
    let phase = if ended.is_some() { "Finished" } else { "Running" };
    let finished = ended.map(|at| {
        json!({ "type": "Finished", "status": "True", "reason": "Completed", "message": "",
                "lastTransitionTime": at })
    });
    serde_json::from_value(json!({
        "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run",
        "metadata": { "name": name, "namespace": "shop", "uid": format!("uid-{name}") },
        "spec": { "experiment": "slow" },
        "status": {
            "phase": phase, "conditions": finished.into_iter().collect::<Value>(),
            "reason": ended.map(|_| "Completed"), "verdict": ended.map(|_| "Confirmed"),
            "steps": [{ "name": "slow", "phase": "Running", "started": "2026-11-28T10:00:00Z" }],
        },
    }))
    .unwrap()
}

const END: &str = "2026-11-28T10:05:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn runs(all: &[(&str, Option<&str>)]) -> Vec<Arc<Run>> {
    all.iter().map(|(name, ended)| Arc::new(run(name, *ended))).collect()
}

/// Whoever tells a server, without long pauses.
fn telling(server: &Server, token_file: Option<PathBuf>) -> Grafana {
    let options = GrafanaOptions { url: server.url().parse().unwrap(), token_file };
    let [first, longest] = [10, 200].map(Duration::from_millis);
    let pace = Pace { first, longest };
    Grafana::paced(options, Duration::from_millis(300), pace)
}

/// Waits until the server is as expected.
async fn until(server: &Server, expected: impl Fn(&Server) -> bool) {
    let begun = Instant::now();
    while !expected(server) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:#?}", server.requests());
        sleep(Duration::from_millis(5)).await;
    }
}

fn ends(server: &Server) -> Vec<i64> {
    server.annotations().iter().filter_map(|one| one["timeEnd"].as_i64()).collect()
}

#[tokio::test]
async fn each_begin_and_end_is_told_once_with_the_token_of_the_moment() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    let mut grafana = telling(&server, Some(file.clone()));
    for _ in 0..3 {
        grafana.look(&runs(&[("a", None)]), at("2026-11-28T09:59:00Z"));
    }
    until(&server, |server| server.annotations().len() == 1).await;
    let one = &server.annotations()[0];
    assert_eq!(one["tags"][3], "run:a");
    assert_eq!((&one["time"], &one["timeEnd"]), (&json!(1_795_860_000_000_i64), &Value::Null));
    std::fs::write(&file, "second\n").unwrap();
    for _ in 0..3 {
        grafana.look(&runs(&[("a", Some(END))]), at(END));
    }
    until(&server, |server| ends(server) == [1_795_860_300_000]).await;
    assert!(server.annotations()[0]["text"].as_str().unwrap().contains("Verdict: Confirmed"));
    // Another run follows, so that whatever was told of the first one has come.
    grafana.look(&runs(&[("a", Some(END)), ("b", None)]), at(END));
    until(&server, |server| server.annotations().len() == 2).await;
    let asked: Vec<(String, String)> =
        server.requests().into_iter().map(|one| (one.method, one.token)).collect();
    let asked: Vec<(&str, &str)> = asked.iter().map(|(verb, token)| (&**verb, &**token)).collect();
    let (first, second) = ("Bearer first", "Bearer second");
    assert_eq!(
        asked,
        [("GET", first), ("POST", first), ("PATCH", second), ("GET", second), ("POST", second)]
    );
    // Of one that is deleted there is an end, too.
    grafana.look(&runs(&[("a", Some(END))]), at("2026-11-28T10:07:00Z"));
    until(&server, |server| ends(server).contains(&1_795_860_420_000)).await;
    assert!(server.annotations()[1]["text"].as_str().unwrap().contains("was deleted"));
    assert_eq!(grafana.queue.dropped(), 0);
}

#[tokio::test]
async fn who_fails_or_hangs_is_told_later_and_once() {
    let server = Server::start().await;
    let mut grafana = telling(&server, None);
    let moods =
        [Mood::Answer(500), Mood::Answer(401), Mood::Answer(302), Mood::Hang, Mood::HangAfter];
    for (number, mood) in moods.into_iter().enumerate() {
        let name = format!("run-{number}");
        server.set(mood);
        let asked = server.requests().len();
        grafana.look(&runs(&[(&name, None)]), at("2026-11-28T09:59:00Z"));
        until(&server, |server| server.requests().len() >= asked + 2).await;
        server.set(Mood::Well);
        let tag = json!(format!("run:{name}"));
        let has = |one: &Value| one["tags"].as_array().unwrap().contains(&tag);
        until(&server, |server| server.annotations().iter().any(has)).await;
        grafana.look(&runs(&[(&name, Some(END))]), at(END));
        until(&server, |server| {
            server.annotations().iter().any(|one| has(one) && one["timeEnd"].is_i64())
        })
        .await;
        assert_eq!(server.annotations().iter().filter(|one| has(one)).count(), 1, "{mood:?}");
    }
    assert_eq!(grafana.queue.dropped(), 0);

    // What is refused as it is goes away, and the end says it all.
    server.set(Mood::Answer(400));
    grafana.look(&runs(&[("refused", None)]), at("2026-11-28T09:59:00Z"));
    until(&server, |_| grafana.queue.dropped() == 1).await;
    server.set(Mood::Well);
    grafana.look(&runs(&[("refused", Some(END))]), at(END));
    until(&server, |server| server.annotations().len() == 6).await;
    let last = &server.annotations()[5];
    assert_eq!([&last["time"], &last["timeEnd"]], [1_795_860_000_000_i64, 1_795_860_300_000]);
}

#[tokio::test]
async fn another_leader_finds_what_was_told() {
    let server = Server::start().await;
    let mut first = telling(&server, None);
    first.look(&runs(&[("a", None), ("b", None)]), at("2026-11-28T09:59:00Z"));
    until(&server, |server| server.annotations().len() == 2).await;
    // It leads no more, and would not be told so by its queue.
    first.forget();
    drop(first);
    let mut second = telling(&server, None);
    let now = at("2026-11-28T10:06:00Z");
    // One goes on, one ended while nobody led, one ended long ago.
    let with_old = |all: &[(&str, Option<&str>)]| {
        let mut old = run("old", Some("2026-11-28T09:50:00Z"));
        let steps = &mut old.status.as_mut().unwrap().steps;
        steps[0].started = Some(serde_json::from_value(json!("2026-11-28T09:40:00Z")).unwrap());
        [runs(all), vec![Arc::new(old)]].concat()
    };
    second.look(&with_old(&[("a", None), ("b", Some(END))]), now);
    until(&server, |server| ends(server).len() == 1).await;
    second.look(&with_old(&[("a", Some(END)), ("b", Some(END))]), now);
    until(&server, |server| ends(server).len() == 2).await;
    drop(second);
    let mut third = telling(&server, None);
    third.look(&with_old(&[("a", Some(END)), ("b", Some(END)), ("c", None)]), now);
    until(&server, |server| server.annotations().len() == 3).await;
    let count = |verb: &str| server.requests().iter().filter(|one| one.method == verb).count();
    assert_eq!((count("POST"), count("PATCH")), (3, 2), "{:#?}", server.requests());
    assert!(!server.requests().iter().any(|one| one.target.contains("old")));
}

#[tokio::test]
async fn tokens_that_cannot_be_sent_are_refused_without_a_request() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let options =
        GrafanaOptions { url: server.url().parse().unwrap(), token_file: Some(file.clone()) };
    let client = Client::new(options, TIMEOUT);
    let queue = Queue::default();
    queue.push("uid-a", Annotation::of(&run("a", None)).unwrap());
    let next = queue.next().await;
    let missing = client.tell(&next).await.unwrap_err().to_string();
    assert!(
        missing.contains("read the token file") && missing.contains("No such file"),
        "{missing}"
    );
    for text in ["", " \n", "two\nlines\n", "b\u{e4}d", &"x".repeat(5000)] {
        std::fs::write(&file, text).unwrap();
        let error = client.tell(&next).await.unwrap_err().to_string();
        assert!(error.contains("write the token of a service account"), "{error}");
        assert!(!error.contains("lines"), "{error}");
    }
    assert_eq!(server.requests().len(), 0);
}
