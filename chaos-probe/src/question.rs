//! Says of which kind a probe is, and what an expression of that kind has.

use chaos_api::kinds::{
    AlertmanagerProbe, HttpProbe, KubernetesProbe, Probe, PrometheusProbe, TcpProbe,
};

/// What a probe asks.
#[derive(Debug, Clone, Copy)]
pub enum Question<'p> {
    Http(&'p HttpProbe),
    Tcp(&'p TcpProbe),
    Prometheus(&'p PrometheusProbe),
    Alertmanager(&'p AlertmanagerProbe),
    Kubernetes(&'p KubernetesProbe),
    Ledger,
}

impl<'p> Question<'p> {
    /// What a probe asks, if that is exactly one thing.
    pub fn of(probe: &'p Probe) -> Option<Self> {
        let asked = [
            probe.http.as_ref().map(Self::Http),
            probe.tcp.as_ref().map(Self::Tcp),
            probe.prometheus.as_ref().map(Self::Prometheus),
            probe.alertmanager.as_ref().map(Self::Alertmanager),
            probe.kubernetes.as_ref().map(Self::Kubernetes),
            probe.ledger.as_ref().map(|_| Self::Ledger),
        ];
        let mut asked = asked.into_iter().flatten();
        asked.next().filter(|_| asked.next().is_none())
    }

    /// The variables that an expression has.
    pub fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Http(_) => &["status", "latency", "body", "json", "headers", "value", "baseline"],
            Self::Tcp(_) => &["connected", "latency", "value", "baseline"],
            Self::Prometheus(_) | Self::Alertmanager(_) | Self::Kubernetes(_) => {
                &["value", "items", "baseline"]
            }
            Self::Ledger => &["matched", "injected", "shadowed", "spared", "lost", "value"],
        }
    }

    /// What must hold where a probe does not say it; for objects of Kubernetes that depends on their kind.
    pub fn default_expectation(self) -> Option<&'static str> {
        match self {
            Self::Http(_) => Some("status < 400"),
            Self::Tcp(_) => Some("connected"),
            Self::Alertmanager(_) => Some("value == 0"),
            Self::Prometheus(_) | Self::Kubernetes(_) | Self::Ledger => None,
        }
    }

    /// How long an answer is waited for, as it is written.
    pub fn timeout(self) -> Option<&'p str> {
        match self {
            Self::Http(http) => http.timeout.as_deref(),
            Self::Tcp(tcp) => tcp.timeout.as_deref(),
            Self::Prometheus(prometheus) => prometheus.timeout.as_deref(),
            Self::Alertmanager(alertmanager) => alertmanager.timeout.as_deref(),
            Self::Kubernetes(_) | Self::Ledger => None,
        }
    }
}
