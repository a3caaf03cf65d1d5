//! Probes read objects and Secrets with the rights of a service account, and only where somebody has allowed the controller
//! to be it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
};

use anyhow::{Result, ensure};
use chaos_api::kinds::Probe;
use chaos_probe::{Asker, Asking, Outcome, Sample, Settings};
use chaos_tests::control_plane::ControlPlane;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::scene::{SHOP, await_that, install};
use crate::agent::client;

const WORD: &str = "Bearer a-word-that-nobody-may-see";

/// What may be asked, with the rights of the controller.
struct Questions {
    plane: ControlPlane,
    runtime: Runtime,
    asker: Asker,
}

impl Questions {
    fn ask(&self, account: &str, question: &Value) -> Result<Sample> {
        let mut probe = question.clone();
        probe["name"] = json!("p");
        let probe: Probe = serde_json::from_value(probe)?;
        let asking = Asking {
            namespace: SHOP.to_owned(),
            run_uid: "1".to_owned(),
            service_account: account.to_owned(),
        };
        Ok(self.runtime.block_on(self.asker.ask(&asking, &probe, None)))
    }

    /// Asks until the answer is this one: rights take a moment until they are known.
    fn expect(&self, question: &Value, outcome: Outcome, seen: &str) -> Result<Sample> {
        await_that(seen, || {
            let sample = self.ask("chaos", question)?;
            let is_it = sample.outcome == outcome && sample.seen.contains(seen);
            Ok(if is_it { Ok(sample) } else { Err(sample) })
        })
    }

    /// Binds a Role of the namespace.
    fn allow(&self, name: &str, rule: &Value, subject: &Value) -> Result<()> {
        let metadata = json!({ "name": name, "namespace": SHOP });
        let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": metadata, "rules": [rule] });
        let binding = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": metadata, "subjects": [subject],
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name } });
        self.plane.apply(&role.to_string())?;
        self.plane.apply(&binding.to_string())?;
        Ok(())
    }
}

/// A server that says what it was sent as `Authorization`.
fn echo() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let sent = lines.iter().find_map(|line| line.strip_prefix("authorization: "));
            let body = sent.unwrap_or_default();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    Ok(address)
}

#[test]
fn secrets_and_objects_are_read_with_the_rights_of_the_service_account() -> Result<()> {
    let plane = ControlPlane::start()?;
    let base = xtask::paths::workspace().join("manifests/base").display().to_string();
    plane.kubectl(&["apply", "--kustomize", &base])?;
    let account = install(&plane)?;
    plane.kubectl(&["create", "namespace", SHOP])?;
    plane.kubectl(&["create", "serviceaccount", "chaos", "--namespace", SHOP])?;
    let word = format!("--from-literal=token={WORD}");
    plane.kubectl(&["create", "secret", "generic", "shop", "--namespace", SHOP, &word])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let controller = runtime.block_on(client(&account))?;
    let networks = ["127.0.0.0/8".parse()?].into_iter().collect();
    let settings = Settings { networks, ..Settings::default() };
    let asker = {
        let _entered = runtime.enter();
        Asker::new(settings, Some(controller))
    };
    let questions = Questions { plane, runtime, asker };
    let url = format!("http://{}/", echo()?);
    let header =
        json!({ "name": "Authorization", "secretKeyRef": { "name": "shop", "key": "token" } });
    let http =
        |expected: &str| json!({ "http": { "url": url, "headers": [header] }, "expect": expected });
    let sent = http(&format!("body == '{WORD}'"));

    let forbidden = "the controller may not act as service account shop/chaos";
    questions.expect(&sent, Outcome::Error, forbidden)?;
    let user = json!({ "kind": "User", "apiGroup": "rbac.authorization.k8s.io",
        "name": "system:serviceaccount:chaos-agent:chaos-controller" });
    let to_be = json!({ "apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["chaos"],
        "verbs": ["impersonate"] });
    questions.allow("chaos-probes", &to_be, &user)?;
    questions.expect(&sent, Outcome::Error, "service account shop/chaos may not read it")?;

    let chaos = json!({ "kind": "ServiceAccount", "name": "chaos", "namespace": SHOP });
    let read = |group: &str, resources: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": ["get", "list"] });
    questions.allow("secrets", &read("", &["secrets"]), &chaos)?;
    questions.expect(&sent, Outcome::Pass, "200, ")?;
    // The service tells the word, and the error of the expression has it.
    let told = questions.expect(&http("int(body) == 1"), Outcome::Error, "is no int")?;
    ensure!(!told.seen.contains("nobody-may-see"), "{}", told.seen);
    let other = questions.ask("other", &sent)?;
    ensure!(other.seen.contains("may not act as service account shop/other"), "{}", other.seen);
    ensure!(questions.ask("", &sent)?.seen.contains("no `serviceAccountName`"));
    ensure!(questions.ask("../chaos", &sent)?.seen.contains("is no name"));

    let pods = json!({ "kubernetes": { "kind": "Pod", "labels": { "app": "web" } } });
    questions.expect(&pods, Outcome::Error, "service account shop/chaos may not read it")?;
    questions.allow("pods", &read("", &["pods"]), &chaos)?;
    questions.expect(
        &pods,
        Outcome::Error,
        "nothing matches: there are no pods with these labels",
    )?;
    let pod = json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "web-0", "namespace": SHOP, "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "main", "image": "none" }] } });
    questions.plane.apply(&pod.to_string())?;
    questions.expect(&pods, Outcome::Fail, "web-0: not ready")?;
    super::scene::serve(&questions.plane, SHOP, "web-0")?;
    questions.expect(&pods, Outcome::Pass, "1 object, as ready as declared")?;
    let named = |name: &str, expected: &str| json!({ "kubernetes": { "kind": "Pod", "name": name }, "expect": expected });
    let running = "items.all(p, p.status.phase in ['Running', 'Succeeded']) && value == 1";
    questions.expect(&named("web-0", running), Outcome::Pass, "1 object")?;
    questions.expect(&named("web-9", running), Outcome::Error, "Pod web-9: it is not there")?;

    // A kind that only the API server knows.
    questions.allow("experiments", &read("chaos-agent.dev", &["experiments"]), &chaos)?;
    let kind = |kind: &str| json!({ "kubernetes": { "kind": kind, "apiVersion": "chaos-agent.dev/v1alpha1" } });
    questions.expect(
        &kind("Experiment"),
        Outcome::Error,
        "nothing matches: there are no experiments",
    )?;
    questions.expect(&kind("Rollout"), Outcome::Error, "has no kind `Rollout`")?;
    Ok(())
}
