//! Writing what became of a pod's faults onto the pod, beside the work, so that a slow API
//! server delays no fault and no end of one.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    future::pending,
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, Recorder, Reporter},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{
    annotate::annotate,
    names::{FIELD_MANAGER, PodName},
    status::Status,
};

const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long is spent on the last answers when the agent stops.
const LAST_PATIENCE: Duration = Duration::from_secs(3);
/// What a server says of a pod that is gone, or has been replaced by one of the same name.
const GONE: [u16; 2] = [404, 409];

/// What is to be written about a pod.
pub(super) struct Answer {
    pub pod: PodName,
    pub reference: ObjectReference,
    pub status: Status,
    pub event: Option<Event>,
}

/// Writes answers one after the other. Of several about one pod only the last status counts;
/// every event does.
pub(super) struct Writer {
    client: Client,
    reporter: Reporter,
    waiting: BTreeMap<PodName, Waiting>,
    /// A recorder joins events of the same reason; only those about the same text are the same.
    recorders: BTreeMap<PodName, (Option<String>, Recorder)>,
}

struct Waiting {
    reference: ObjectReference,
    status: Option<Status>,
    events: Vec<Event>,
}

impl Writer {
    pub fn new(client: Client, node: &str) -> Self {
        let reporter =
            Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(node.to_owned()) };
        Self { client, reporter, waiting: BTreeMap::new(), recorders: BTreeMap::new() }
    }

    /// Writes until the other end of `answers` is gone, then what is left, if that is soon done.
    pub async fn run(mut self, mut answers: mpsc::UnboundedReceiver<Answer>) {
        let mut not_before: Option<Instant> = None;
        loop {
            let due = !self.waiting.is_empty();
            let ready = async {
                match not_before {
                    _ if !due => pending().await,
                    Some(at) => sleep_until(at).await,
                    None => {}
                }
            };
            tokio::select! {
                biased;
                answer = answers.recv() => match answer {
                    Some(answer) => self.take(answer),
                    None => break,
                },
                () = ready => {
                    let written = self.write_one().await;
                    not_before = (!written).then(|| Instant::now() + PAUSE_AFTER_FAILURE);
                }
            }
        }
        let give_up = Instant::now() + LAST_PATIENCE;
        while !self.waiting.is_empty() {
            match timeout_at(give_up, self.write_one()).await {
                Ok(true) => {}
                Ok(false) | Err(_) => {
                    tracing::warn!(pods = self.waiting.len(), "pods keep an outdated status");
                    return;
                }
            }
        }
    }

    fn take(&mut self, answer: Answer) {
        let Answer { pod, reference, status, event } = answer;
        let waiting = match self.waiting.entry(pod) {
            Entry::Vacant(vacant) => {
                vacant.insert(Waiting { reference, status: None, events: Vec::new() })
            }
            Entry::Occupied(occupied) => {
                let waiting = occupied.into_mut();
                if waiting.reference.uid != reference.uid {
                    *waiting = Waiting { reference, status: None, events: Vec::new() };
                }
                waiting
            }
        };
        waiting.status = Some(status);
        waiting.events.extend(event);
    }

    /// Writes what waits longest by name; false when the server did not take it.
    async fn write_one(&mut self) -> bool {
        let Some((pod, mut waiting)) = self.waiting.pop_first() else {
            return true;
        };
        let written = match timeout(PATIENCE, self.write(&pod, &mut waiting)).await {
            Ok(Ok(())) => true,
            Ok(Err(kube::Error::Api(status))) if GONE.contains(&status.code) => {
                tracing::debug!(%pod, "gone before it was answered");
                self.recorders.remove(&pod);
                return true;
            }
            Ok(Err(error)) => {
                tracing::warn!(%pod, %error, "the status was not written");
                false
            }
            Err(_) => {
                tracing::warn!(%pod, "the status was not written: no answer");
                false
            }
        };
        if !written {
            self.waiting.insert(pod, waiting);
        }
        written
    }

    async fn write(&mut self, pod: &PodName, waiting: &mut Waiting) -> kube::Result<()> {
        let observed = waiting.status.as_ref().and_then(|status| status.observed.clone());
        if let Some(status) = &waiting.status {
            annotate(&self.client, pod, &waiting.reference, status).await?;
            waiting.status = None;
        }
        while let Some(event) = waiting.events.first() {
            let recorder = match self.recorders.get(pod) {
                Some((about, recorder)) if *about == observed => recorder,
                _ => {
                    let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
                    &self
                        .recorders
                        .entry(pod.clone())
                        .insert_entry((observed.clone(), recorder))
                        .into_mut()
                        .1
                }
            };
            recorder.publish(event, &waiting.reference).await?;
            waiting.events.remove(0);
        }
        Ok(())
    }
}
