//! Asks a probe's question, whatever it is, and always has a sample for it.

use std::sync::Arc;

use chaos_api::kinds::Probe;
use jiff::Timestamp;
use kube::Client;

use crate::{
    Networks, Outcome, Sample, alertmanager,
    expectation::{Answer, Expectation},
    http_probe,
    judging::Judges,
    kubernetes, prometheus,
    question::Question,
    resolver::Resolver,
    room::Rooms,
    session::Sessions,
    tcp,
    tls::Tls,
    trouble::Trouble,
};

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
    resolver: Resolver,
    rooms: Rooms,
    judges: Judges,
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
        let inner = Inner {
            settings,
            client,
            sessions: Sessions::default(),
            tls,
            resolver: Resolver::of_system(),
            rooms: Rooms::default(),
            judges: Judges::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Asks once. `probe` has its parameters filled in. `baseline` is what was measured before anything was broken; until
    /// that is known, an expression has the value itself in its place.
    pub async fn ask(&self, asking: &Asking, probe: &Probe, baseline: Option<f64>) -> Sample {
        let at = Timestamp::now();
        let mut sent = Vec::new();
        let asked = self.question(asking, probe, baseline, at, &mut sent).await;
        let sample = asked.unwrap_or_else(|trouble| {
            // Only these are asked of a service that its users need; the others are asked about one.
            let outcome =
                match (probe.http.is_some() || probe.tcp.is_some()) && trouble.is_failure() {
                    true => Outcome::Fail,
                    false => Outcome::Error,
                };
            Sample::new(at, outcome, None, &trouble.to_string())
        });
        sample.shown(&sent)
    }

    /// Drops the sessions of a run.
    pub fn forget(&self, run_uid: &str) {
        self.inner.sessions.forget(run_uid);
    }

    /// Drops the sessions of all runs: another controller asks from now on.
    pub fn forget_all(&self) {
        self.inner.sessions.forget_all();
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
        // What is read of an answer, and its room, live as long as it is judged.
        match question {
            Question::Http(http) => {
                let response = http_probe::ask(self, asking, http, sent).await?;
                let read =
                    move |expectation: &Expectation| http_probe::answer(&response, expectation);
                self.judge(expectation, read, baseline, at).await
            }
            Question::Tcp(tcp) => {
                let answer = tcp::ask(self, tcp, &expectation).await?;
                Ok(expectation.judge(answer, baseline, at))
            }
            Question::Prometheus(prometheus) => {
                let response = prometheus::ask(self, prometheus).await?;
                let read = move |expectation: &Expectation| {
                    prometheus::answer(&response, expectation).map_err(Trouble::Question)
                };
                self.judge(expectation, read, baseline, at).await
            }
            Question::Alertmanager(alertmanager) => {
                let response = alertmanager::ask(self, alertmanager).await?;
                let read = move |_: &Expectation| {
                    alertmanager::answer(&response).map_err(Trouble::Question)
                };
                self.judge(expectation, read, baseline, at).await
            }
            Question::Kubernetes(objects) => {
                let objects = kubernetes::ask(self, asking, objects).await?;
                let judged = move || Ok(kubernetes::judged(objects, &expectation, baseline, at));
                self.inner.judges.run(judged).await
            }
            Question::Ledger => {
                Err(Trouble::Question("a ledger is not asked; it is judged at the end".to_owned()))
            }
        }
    }

    /// Reads an answer and judges it. What `read` holds, such as the room of the answer, lives until then.
    async fn judge(
        &self,
        expectation: Expectation,
        read: impl Fn(&Expectation) -> Result<Answer, Trouble> + Send + 'static,
        baseline: Option<f64>,
        at: Timestamp,
    ) -> Result<Sample, Trouble> {
        let judged = move || Ok(expectation.judge(read(&expectation)?, baseline, at));
        self.inner.judges.run(judged).await
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

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.inner.resolver
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.inner.rooms
    }

    pub(crate) fn judges(&self) -> &Judges {
        &self.inner.judges
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
