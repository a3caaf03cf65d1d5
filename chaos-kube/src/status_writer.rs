//! Writes what became of a pod's faults onto the pod, beside the work, so that a slow API server
//! delays no fault and no end of one. What is written when is decided by the [`Queue`].

use std::{
    collections::BTreeMap,
    future::pending,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use tokio::{
    sync::mpsc,
    time::{sleep_until, timeout},
};

use super::{
    annotate::annotate,
    latency::Latency,
    names::{FIELD_MANAGER, PodName},
    queue::{Answer, Content, Outcome, Queue, Remark, Write},
};

const PATIENCE: Duration = Duration::from_secs(10);
/// How long is spent on the last answers when the agent stops.
const LAST_PATIENCE: Duration = Duration::from_secs(3);

/// What the reconciler says of a pod.
pub(super) enum Message {
    Answer(Box<Answer>),
    /// It is there no longer.
    Gone(PodName),
}

/// Writes answers, those of a pod one after the other.
pub(super) struct Writer {
    client: Client,
    reporter: Reporter,
    queue: Queue,
    latency: Latency,
    /// A recorder joins events of the same reason; only those about the same text are the same.
    recorders: BTreeMap<PodName, (Option<String>, Recorder)>,
}

impl Writer {
    pub fn new(client: Client, node: &str, latency: Latency) -> Self {
        let reporter =
            Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(node.to_owned()) };
        Self { client, reporter, queue: Queue::default(), latency, recorders: BTreeMap::new() }
    }

    /// Writes until the other end of `messages` is gone, then what is left, if that is soon done.
    pub async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
        let mut under_way = FuturesUnordered::new();
        let mut give_up_at = None;
        loop {
            while let Some(write) = self.queue.start(Instant::now()) {
                under_way.push(send(self.client.clone(), self.recorder(&write), write));
            }
            if give_up_at.is_some() && self.queue.is_done() {
                break;
            }
            let wakes_at = self.queue.wakes_at(Instant::now());
            tokio::select! {
                biased;
                () = sleep_or_wait(give_up_at), if give_up_at.is_some() => break,
                message = messages.recv(), if give_up_at.is_none() => match message {
                    Some(Message::Answer(answer)) => self.queue.take(*answer, Instant::now()),
                    Some(Message::Gone(pod)) => self.forget(&pod),
                    None => {
                        self.queue.close();
                        give_up_at = Some(Instant::now() + LAST_PATIENCE);
                    }
                },
                Some((write, result, took)) = under_way.next() => {
                    self.latency.note(took);
                    self.settle(write, &result);
                }
                () = sleep_or_wait(wakes_at) => {}
            }
        }
        let outdated = self.queue.outdated();
        if outdated > 0 {
            tracing::warn!(pods = outdated, "pods keep an outdated status");
        }
    }

    fn forget(&mut self, pod: &PodName) {
        self.queue.forget(pod);
        self.recorders.remove(pod);
    }

    fn settle(&mut self, write: Write, result: &Sent) {
        let pod = write.pod.clone();
        let remark = self.queue.settle(write, outcome(result), Instant::now());
        let reason = match result {
            Ok(Ok(())) => "written".to_owned(),
            // The whole of it is a page long.
            Ok(Err(kube::Error::Api(status))) => format!("{} ({})", status.message, status.code),
            Ok(Err(error)) => error.to_string(),
            Err(NoAnswer) => format!("no answer within {PATIENCE:?}"),
        };
        match remark {
            None => tracing::trace!(%pod, %reason, "an answer"),
            Some(Remark::Gone) => {
                self.recorders.remove(&pod);
                tracing::debug!(%pod, "gone before it was answered");
            }
            Some(Remark::WillRetry) => {
                tracing::warn!(%pod, %reason, "the answer was not written; it is tried again");
            }
            Some(Remark::Shortening) => {
                tracing::warn!(%pod, %reason, "the status was refused; its phase and clocks are written alone");
            }
            Some(Remark::GivenUp) => {
                tracing::warn!(%pod, %reason, "the status was refused; the pod keeps an outdated one until there is something else to say");
            }
            Some(Remark::EventDropped) => {
                tracing::warn!(%pod, %reason, "an event was refused and is dropped");
            }
        }
    }

    /// Who publishes this event; nobody for a status.
    fn recorder(&mut self, write: &Write) -> Option<Recorder> {
        let Content::Event(notice) = &write.content else { return None };
        let (about, recorder) = self.recorders.entry(write.pod.clone()).or_insert_with(|| {
            (notice.about.clone(), Recorder::new(self.client.clone(), self.reporter.clone()))
        });
        if *about != notice.about {
            about.clone_from(&notice.about);
            *recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        }
        Some(recorder.clone())
    }
}

type Sent = Result<kube::Result<()>, NoAnswer>;

struct NoAnswer;

/// Sends what is to be written. What became of it, and how long that took.
async fn send(client: Client, recorder: Option<Recorder>, write: Write) -> (Write, Sent, Duration) {
    let begin = Instant::now();
    let request = async {
        match (&write.content, recorder) {
            (Content::Status { status, .. }, _) => {
                annotate(&client, &write.pod, &write.reference, status).await
            }
            (Content::Event(notice), Some(recorder)) => {
                recorder.publish(&notice.event, &write.reference).await
            }
            (Content::Event(_), None) => Ok(()),
        }
    };
    let sent = timeout(PATIENCE, request).await.map_err(|_| NoAnswer);
    (write, sent, begin.elapsed())
}

fn outcome(sent: &Sent) -> Outcome {
    match sent {
        Ok(Ok(())) => Outcome::Written,
        Ok(Err(kube::Error::Api(status))) => by_code(status.code),
        Ok(Err(_)) | Err(NoAnswer) => Outcome::Failed,
    }
}

/// What an answer of the API server means for what was sent.
fn by_code(code: u16) -> Outcome {
    match code {
        404 | 409 => Outcome::Gone,
        // Says nothing of the content: who asks (the token is renewed), how fast, how often.
        401 | 408 | 429 => Outcome::Failed,
        400..500 => Outcome::Refused,
        _ => Outcome::Failed,
    }
}

async fn sleep_or_wait(until: Option<Instant>) {
    match until {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_with_the_content_is_refused() {
        for (codes, expected) in [
            (&[404, 409][..], Outcome::Gone),
            (&[400, 403, 405, 413, 415, 422], Outcome::Refused),
            (&[401, 408, 429, 500, 502, 503, 504, 0], Outcome::Failed),
        ] {
            for code in codes {
                assert_eq!(by_code(*code), expected, "{code}");
            }
        }
    }
}
