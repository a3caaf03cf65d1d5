//! Asks a probe's question, whatever it is, and always has a sample for it.

use std::sync::Arc;

use chaos_api::kinds::Probe;
use jiff::Timestamp;
use kube::Client;

use crate::{
    Networks, Outcome, Sample, alertmanager, expectation::Expectation, http_probe, kubernetes,
    prometheus, question::Question, session::Sessions, tcp, tls::Tls, trouble::Trouble,
};

/// Shorter values of Secrets are in any text.
const SHORTEST_SECRET: usize = 4;

/// Where probes may ask.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Which addresses probes may connect to.
    pub networks: Networks,
    /// The URL of the Prometheus that is asked where a probe names none; its address is trusted.
    pub prometheus: Option<String>,
    /// The same of Alertmanager.
    pub alertmanager: Option<String>,
}

/// Whose probe it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// Of the run.
    pub namespace: String,
    /// Sessions are kept for each run.
    pub run_uid: String,
    /// With whose rights objects and Secrets are read; empty where the experiment names none.
    pub service_account: String,
}

/// Asks questions. Clones share sessions.
#[derive(Clone)]
pub struct Asker {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    client: Option<Client>,
    sessions: Sessions,
    tls: Result<Tls, String>,
}

impl Asker {
    /// Reads the system's certificates once. Without a client, objects and Secrets cannot be read.
    pub fn new(settings: Settings, client: Option<Client>) -> Self {
        Self::with_tls(settings, client, Tls::of_system().map_err(|error| error.to_string()))
    }

    pub(crate) fn with_tls(
        settings: Settings,
        client: Option<Client>,
        tls: Result<Tls, String>,
    ) -> Self {
        let sessions = Sessions::default();
        Self { inner: Arc::new(Inner { settings, client, sessions, tls }) }
    }

    /// Asks once. `probe` has its parameters filled in. `baseline` is what was measured before anything was broken; until
    /// that is known, an expression has the value itself in its place.
    pub async fn ask(&self, asking: &Asking, probe: &Probe, baseline: Option<f64>) -> Sample {
        let at = Timestamp::now();
        let mut sent = Vec::new();
        let asked = self.question(asking, probe, baseline, at, &mut sent).await;
        let mut sample = asked.unwrap_or_else(|trouble| {
            // Only these are asked of a service that its users need; the others are asked about one.
            let outcome =
                match (probe.http.is_some() || probe.tcp.is_some()) && trouble.is_failure() {
                    true => Outcome::Fail,
                    false => Outcome::Error,
                };
            Sample::new(at, outcome, None, &trouble.to_string())
        });
        for secret in sent.iter().filter(|secret| secret.len() >= SHORTEST_SECRET) {
            sample.seen = sample.seen.replace(secret.as_str(), "…");
        }
        sample
    }

    /// Drops the sessions of a run.
    pub fn forget(&self, run_uid: &str) {
        self.inner.sessions.forget(run_uid);
    }

    async fn question(
        &self,
        asking: &Asking,
        probe: &Probe,
        baseline: Option<f64>,
        at: Timestamp,
        sent: &mut Vec<String>,
    ) -> Result<Sample, Trouble> {
        let question = Question::of(probe).ok_or_else(|| {
            Trouble::Question("a probe must have exactly one of http, tcp, prometheus, alertmanager, kubernetes and ledger".to_owned())
        })?;
        let expectation = Expectation::of(probe, question)
            .map_err(|error| Trouble::Question(format!("expect: {error}")))?;
        let answer = match question {
            Question::Http(http) => http_probe::ask(self, asking, http, &expectation, sent).await?,
            Question::Tcp(tcp) => tcp::ask(self, tcp, &expectation).await?,
            Question::Prometheus(prometheus) => {
                prometheus::ask(self, prometheus, &expectation).await?
            }
            Question::Alertmanager(alertmanager) => alertmanager::ask(self, alertmanager).await?,
            Question::Kubernetes(objects) => {
                return kubernetes::ask(self, asking, objects, &expectation, baseline, at).await;
            }
            Question::Ledger => {
                return Err(Trouble::Question(
                    "a ledger is not asked; it is judged at the end".to_owned(),
                ));
            }
        };
        Ok(expectation.judge(answer, baseline, at))
    }

    pub(crate) fn networks(&self) -> &Networks {
        &self.inner.settings.networks
    }

    pub(crate) fn prometheus(&self) -> Option<&str> {
        self.inner.settings.prometheus.as_deref()
    }

    pub(crate) fn alertmanager(&self) -> Option<&str> {
        self.inner.settings.alertmanager.as_deref()
    }

    pub(crate) fn client(&self) -> Option<&Client> {
        self.inner.client.as_ref()
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    pub(crate) fn tls(&self) -> Result<&Tls, Trouble> {
        self.inner
            .tls
            .as_ref()
            .map_err(|why| Trouble::Question(format!("TLS cannot be begun: {why}")))
    }
}
