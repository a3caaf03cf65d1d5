//! Serves metrics and health where the command line says so.

use std::{net::SocketAddr, sync::Arc};

use chaos_metrics::{Bounds, Health, ListenError, Pages, Server};
use tokio::task::JoinSet;

/// Where a program says what it measures, and how it is. It listens nowhere unless one of these says so.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Metrics and health")]
pub struct Addresses {
    /// Where `/metrics` is served for Prometheus, such as 0.0.0.0:9464; whoever reaches it may read it
    #[arg(long, value_name = "ADDR:PORT")]
    metrics_address: Option<SocketAddr>,
    /// Where `/healthz` and `/readyz` are served for the kubelet, such as 0.0.0.0:9465
    #[arg(long, value_name = "ADDR:PORT")]
    health_address: Option<SocketAddr>,
}

/// Sockets that listen, and serve nothing yet.
pub struct Listening {
    metrics: Option<Server>,
    health: Option<Server>,
}

/// Serves for as long as there is one.
#[must_use]
#[derive(Default)]
pub struct Serving(JoinSet<()>);

impl Addresses {
    /// Begins to listen, so that an address that is taken is told of before anything else is done.
    pub async fn listen(&self) -> Result<Listening, ListenError> {
        let metrics = match self.metrics_address {
            Some(address) => {
                Some(Server::bind(address, "--metrics-address", Bounds::METRICS).await?)
            }
            None => None,
        };
        let health = match self.health_address {
            Some(address) => Some(Server::bind(address, "--health-address", Bounds::HEALTH).await?),
            None => None,
        };
        Ok(Listening { metrics, health })
    }
}

impl Listening {
    /// Serves `health`, and what `metrics` makes where metrics are wanted.
    pub fn serve<P: Pages>(self, metrics: impl FnOnce() -> Arc<P>, health: Health) -> Serving {
        let mut serving = Serving::default();
        if let Some(server) = self.metrics {
            serving.spawn(server, metrics());
        }
        if let Some(server) = self.health {
            serving.spawn(server, Arc::new(health));
        }
        serving
    }
}

impl Serving {
    fn spawn(&mut self, server: Server, pages: Arc<impl Pages>) {
        self.0.spawn(async move { match server.serve(pages).await {} });
    }
}
