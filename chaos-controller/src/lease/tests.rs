//! Leads by an API server that fails, or that others write to between two requests.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;

/// What comes before a write of the Lease.
enum Before {
    Fails,
    /// Somebody else changes it.
    Changes(fn(&mut Lease)),
}

/// An API server with one object.
#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    version: u32,
    before_writes: VecDeque<Before>,
    writes: usize,
}

impl Server {
    fn put(&mut self, mut lease: Lease) -> Value {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        json!(self.lease.insert(lease))
    }

    fn answer(&mut self, method: &Method, body: &[u8]) -> (StatusCode, Value) {
        if method == Method::GET {
            return match &self.lease {
                Some(lease) => (StatusCode::OK, json!(lease)),
                None => failure(StatusCode::NOT_FOUND),
            };
        }
        self.writes += 1;
        match self.before_writes.pop_front() {
            None => {}
            Some(Before::Fails) => return failure(StatusCode::INTERNAL_SERVER_ERROR),
            Some(Before::Changes(change)) => {
                let mut lease = self.lease.clone().unwrap_or_default();
                change(&mut lease);
                self.put(lease);
            }
        }
        let lease: Lease = serde_json::from_slice(body).unwrap();
        let there = self.lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        match lease.metadata.resource_version == there {
            true => (StatusCode::OK, self.put(lease)),
            false => failure(StatusCode::CONFLICT),
        }
    }
}

fn failure(code: StatusCode) -> (StatusCode, Value) {
    // By the reason kube knows what is not there.
    let reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
    let status = json!({ "status": "Failure", "reason": reason, "code": code.as_u16() });
    (code, status)
}

/// A candidate beside its server.
struct Scene {
    server: Arc<Mutex<Server>>,
    leadership: Leadership,
}

impl Scene {
    async fn leading() -> Self {
        let server = Arc::new(Mutex::new(Server::default()));
        let answering = server.clone();
        let service = service_fn(move |request: Request<Body>| {
            let server = answering.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let (code, answer) = server.lock().unwrap().answer(&parts.method, &body);
                let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
                *response.status_mut() = code;
                Ok::<_, Infallible>(response)
            }
        });
        let client = Client::new(service, "chaos-agent");
        let duration = Duration::from_secs(3600);
        let mut leadership = Leadership::new(client, "chaos-agent", "a".to_owned(), duration);
        leadership.tend().await.unwrap();
        assert!(leadership.may_act());
        Self { server, leadership }
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    /// What comes before each of the next writes.
    fn before_writes(&self, before: impl IntoIterator<Item = Before>) {
        self.server().before_writes = before.into_iter().collect();
    }

    async fn tell(&mut self, run: &str) -> Result<(), LeaseError> {
        self.leadership.tell([run.to_owned()].into()).await
    }

    /// The runs that end, as agents are told.
    fn told(&self) -> Option<String> {
        self.server().lease.as_ref()?.metadata.annotations.as_ref()?.get(HALTED_RUNS).cloned()
    }
}

fn halt(lease: &mut Lease) {
    lease.metadata.annotations.get_or_insert_default().insert(HALT.into(), "INC-4711".into());
}

fn take(lease: &mut Lease) {
    lease.spec.get_or_insert_default().holder_identity = Some("b".to_owned());
}

#[tokio::test]
async fn what_could_not_be_told_is_told_by_the_next_look() {
    let mut scene = Scene::leading().await;
    scene.before_writes([Before::Fails]);
    assert!(scene.tell("shop/run").await.is_err());
    assert_eq!(scene.told(), None);
    scene.tell("shop/run").await.unwrap();
    assert_eq!(scene.told().as_deref(), Some("shop/run"));
    let writes = scene.server().writes;
    scene.tell("shop/run").await.unwrap();
    assert_eq!(scene.server().writes, writes, "it is told once");
}

#[tokio::test]
async fn whoever_halts_the_cluster_takes_the_lead_from_nobody() {
    let mut scene = Scene::leading().await;
    scene.before_writes([Before::Changes(halt)]);
    scene.tell("shop/run").await.unwrap();
    assert!(scene.leadership.may_act());
    assert_eq!(scene.leadership.lever(), Some("INC-4711"));
    assert_eq!(scene.told().as_deref(), Some("shop/run"));

    // Whoever changes it all the time is waited for until the next look.
    scene.before_writes([Before::Changes(halt), Before::Changes(halt)]);
    assert!(matches!(scene.tell("shop/other").await, Err(LeaseError::Changed)));
    assert!(scene.leadership.may_act());
    scene.leadership.tend().await.unwrap();
    assert_eq!(scene.told().as_deref(), Some("shop/other"));
}

#[tokio::test]
async fn another_that_was_faster_leads() {
    let mut scene = Scene::leading().await;
    scene.before_writes([Before::Changes(take)]);
    scene.tell("shop/run").await.unwrap();
    assert!(!scene.leadership.may_act());
    assert_eq!(scene.told(), None);
}
