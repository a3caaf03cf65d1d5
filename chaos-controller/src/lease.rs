//! Leads, while this controller holds the Lease. The loop that works renews it, never a timer beside it: when the work
//! hangs, the Lease stands still, another controller takes over, and agents end guarded faults if none does.
//!
//! Agents watch the Lease: its annotations tell them which runs end now, whether the whole cluster is halted, and how many
//! pods have faults.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use thiserror::Error;
use tokio::time::timeout;

use crate::names::{ARMED_PODS, HALT, HALTED_RUNS, LEASE};

/// Why the Lease is not known to be held.
#[derive(Debug, Error)]
pub enum LeaseError {
    #[error("the Lease {LEASE} cannot be read or written: {0}")]
    Api(#[from] kube::Error),
    #[error("the API server did not answer about the Lease {LEASE} within {0:?}")]
    Silent(Duration),
    #[error(
        "the Lease {LEASE} was changed by others between reading and writing it, {TRIES} times; it is tried again"
    )]
    Changed,
}

/// How often the Lease is read and written where others change it in between. Whoever halts the cluster does so, too,
/// and leads nobody.
const TRIES: usize = 2;

/// One candidate.
pub struct Leadership {
    api: Api<Lease>,
    identity: String,
    duration: Duration,
    /// When it was renewed last, by the time before the request: it holds no longer than the server thinks.
    renewed: Option<Instant>,
    /// When the server was asked last.
    asked: Option<Instant>,
    /// How the Lease of another was when it last changed, and when that was seen.
    standing: Option<(String, Instant)>,
    /// The runs that end now.
    ending: BTreeSet<String>,
    /// Those that the Lease says end now, since it was written last.
    told: BTreeSet<String>,
    lever: Option<String>,
    /// How many pods have faults, as the Lease says from its next renewal on.
    armed_pods: usize,
}

impl Leadership {
    pub fn new(client: Client, namespace: &str, identity: String, duration: Duration) -> Self {
        let api = Api::namespaced(client, namespace);
        Self {
            api,
            identity,
            duration,
            renewed: None,
            asked: None,
            standing: None,
            ending: BTreeSet::new(),
            told: BTreeSet::new(),
            lever: None,
            armed_pods: 0,
        }
    }

    /// Why the whole cluster is halted, if it is.
    pub fn lever(&self) -> Option<&str> {
        self.lever.as_deref()
    }

    /// Whether writes may begin: a third of the duration is left for those that are under way.
    pub fn may_act(&self) -> bool {
        self.renewed.is_some_and(|renewed| renewed.elapsed() < self.duration * 2 / 3)
    }

    /// How long a request may take: what is under way is over before another leads.
    pub fn patience(&self) -> Duration {
        self.duration / 3
    }

    /// Tells agents which runs end now, `NAMESPACE/RUN`: they need not wait for the annotations of pods.
    pub async fn tell(&mut self, ending: BTreeSet<String>) -> Result<(), LeaseError> {
        self.ending = ending;
        if self.told == self.ending {
            return Ok(());
        }
        self.renew().await
    }

    /// Has the Lease say how many pods have faults, when it is renewed next: by that agents pace what they write.
    pub fn count(&mut self, armed_pods: usize) {
        self.armed_pods = armed_pods;
    }

    /// Renews the Lease if it is time, or takes it if nobody renews it.
    pub async fn tend(&mut self) -> Result<(), LeaseError> {
        if self.asked.is_some_and(|asked| asked.elapsed() < self.duration / 5) {
            return Ok(());
        }
        self.renew().await
    }

    async fn renew(&mut self) -> Result<(), LeaseError> {
        for _ in 0..TRIES {
            match self.renew_once().await {
                Err(LeaseError::Changed) => {}
                renewed => return renewed,
            }
        }
        // It holds for as long as it was renewed before; the next look asks at once.
        self.asked = None;
        Err(LeaseError::Changed)
    }

    async fn renew_once(&mut self) -> Result<(), LeaseError> {
        let now = Instant::now();
        self.asked = Some(now);
        let patience = self.patience();
        let asked = timeout(patience, self.api.get_opt(LEASE)).await;
        let Some(lease) = asked.map_err(|_| LeaseError::Silent(patience))?? else {
            // Who deletes the Lease does not lift the halt of the cluster.
            let halt = self.lever.clone().map(|reason| (HALT.to_owned(), reason));
            let metadata = ObjectMeta {
                name: Some(LEASE.to_owned()),
                annotations: halt.map(|halt| [halt].into()),
                ..ObjectMeta::default()
            };
            return self.write(Lease { metadata, spec: None }, now).await;
        };
        if !self.may_take(&lease, now) {
            self.renewed = None;
            return Ok(());
        }
        let lever = lease.metadata.annotations.as_ref().and_then(|all| all.get(HALT));
        self.lever =
            lever.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty());
        self.write(lease, now).await
    }

    /// Gives the Lease up, so that another need not wait.
    pub async fn release(&mut self) -> Result<(), LeaseError> {
        if self.renewed.take().is_none() {
            return Ok(());
        }
        let Some(mut lease) = self.api.get_opt(LEASE).await? else { return Ok(()) };
        if let Some(spec) = lease.spec.as_mut().filter(|spec| is_held_by(spec, &self.identity)) {
            spec.holder_identity = None;
            self.api.replace(LEASE, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }

    /// Whether the Lease is ours, or nobody's, or has stood still by our own clock.
    fn may_take(&mut self, lease: &Lease, now: Instant) -> bool {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let spec = lease.spec.clone().unwrap_or_default();
        let is_free = spec.holder_identity.as_deref().unwrap_or_default().is_empty();
        if is_free || is_held_by(&spec, &self.identity) {
            return true;
        }
        match &self.standing {
            Some((before, since)) if *before == version => {
                now.duration_since(*since) >= self.duration
            }
            _ => {
                self.standing = Some((version, now));
                false
            }
        }
    }

    async fn write(&mut self, lease: Lease, now: Instant) -> Result<(), LeaseError> {
        let is_new = lease.metadata.resource_version.is_none();
        let lease = self.taken(lease);
        let patience = self.patience();
        let params = PostParams::default();
        let written = match is_new {
            true => timeout(patience, self.api.create(&params, &lease)).await,
            false => timeout(patience, self.api.replace(LEASE, &params, &lease)).await,
        };
        match written.map_err(|_| LeaseError::Silent(patience))? {
            Ok(_) => {
                if self.renewed.is_none() {
                    tracing::info!(identity = self.identity, "leading");
                }
                self.renewed = Some(now);
                self.standing = None;
                self.told.clone_from(&self.ending);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Err(LeaseError::Changed),
            Err(error) => Err(error.into()),
        }
    }

    /// The Lease as it is once we have it. What others have written on it stays.
    fn taken(&self, mut lease: Lease) -> Lease {
        let now = MicroTime(jiff::Timestamp::now());
        let before = lease.spec.take().unwrap_or_default();
        let is_ours = is_held_by(&before, &self.identity);
        let transitions = before.lease_transitions.unwrap_or(0) + i32::from(!is_ours);
        let annotations = lease.metadata.annotations.get_or_insert_default();
        if self.ending.is_empty() {
            annotations.remove(HALTED_RUNS);
        } else {
            let ending: Vec<&str> = self.ending.iter().map(String::as_str).collect();
            annotations.insert(HALTED_RUNS.to_owned(), ending.join(","));
        }
        if self.armed_pods == 0 {
            annotations.remove(ARMED_PODS);
        } else {
            annotations.insert(ARMED_PODS.to_owned(), self.armed_pods.to_string());
        }
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            acquire_time: before.acquire_time.clone().filter(|_| is_ours).or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..before
        });
        lease
    }
}

fn is_held_by(spec: &LeaseSpec, identity: &str) -> bool {
    spec.holder_identity.as_deref() == Some(identity)
}

#[cfg(test)]
mod tests;
