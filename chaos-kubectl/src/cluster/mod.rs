//! Talks with the API server in the name of the user, and explains what it refuses.

mod asked;
mod error;

pub use asked::{Asked, Resource};
use chaos_api::kinds::{Experiment, Run};
pub use error::ClusterError;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::watcher,
};

use crate::cli::ClusterArgs;

/// How long a connection may take.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(10);

/// One cluster, as the kubeconfig names it.
pub struct Cluster {
    pub client: Client,
    /// That of the option, else of the context.
    pub namespace: String,
    /// The same, if it was said on the command line.
    pub asked_namespace: Option<String>,
    /// Where the agents are.
    pub agents: String,
    url: String,
}

impl Cluster {
    /// Reads the kubeconfig. No request is made.
    pub async fn of(args: &ClusterArgs) -> Result<Self, ClusterError> {
        let options =
            KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
        let unknown = |error: &dyn std::fmt::Display| ClusterError::Config(error.to_string());
        let mut config = match &args.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(|error| unknown(&error))?;
                let config = Config::from_custom_kubeconfig(file, &options).await;
                config.map_err(|error| unknown(&error))?
            }
            None if args.context.is_some() => {
                Config::from_kubeconfig(&options).await.map_err(|error| unknown(&error))?
            }
            None => Config::infer().await.map_err(|error| unknown(&error))?,
        };
        config.connect_timeout = Some(CONNECT);
        let url = config.cluster_url.to_string();
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| unknown(&error))?;
        let asked_namespace = args.namespace.clone();
        Ok(Self { client, namespace, asked_namespace, agents: args.agent_namespace.clone(), url })
    }

    pub fn runs(&self, namespace: &str) -> Api<Run> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub fn experiments(&self) -> Api<Experiment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Says what an error of a request means.
    pub fn explain(&self, error: kube::Error, asked: Asked) -> ClusterError {
        ClusterError::of(error, asked, &self.url)
    }

    /// Says why a watch of Runs begins again; nothing where that is usual. An error where a right is missing, as it would
    /// for ever.
    pub fn rewatched(
        &self,
        error: watcher::Error,
        (name, namespace): (&str, &str),
    ) -> Result<Option<String>, ClusterError> {
        let asked = |verb| Asked::to(verb, Resource::Runs, name, namespace);
        let explained = match error {
            watcher::Error::InitialListFailed(error) => self.explain(error, asked("list")),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                self.explain(error, asked("watch"))
            }
            // The history was too short; the watch lists anew.
            watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => return Ok(None),
        };
        match explained.is_forbidden() {
            true => Err(explained),
            false => Ok(Some(format!("{explained}; trying again"))),
        }
    }
}
