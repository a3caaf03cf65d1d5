//! Service accounts, by tokens such as the kubelet of a node gives to their pods.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::{AGENT_NAMESPACE, AGENT_SERVICE_ACCOUNT, ControlPlane, identity::write_kubeconfig};

impl ControlPlane {
    /// A kubeconfig file with which a client is the agent of `node`: its token is bound to a pod
    /// there, which is made for it. The account must exist, as it does once the manifests are
    /// applied; it may do what they grant.
    ///
    /// # Errors
    /// When kubectl fails, with its standard error.
    pub fn agent_on(&self, node: &str) -> Result<PathBuf> {
        let token = self.token_on(node, AGENT_NAMESPACE, AGENT_SERVICE_ACCOUNT)?;
        self.kubeconfig_of(&format!("{AGENT_SERVICE_ACCOUNT}-{node}"), &token)
    }

    /// A token of any service account, bound to a pod on `node` that is made for it.
    ///
    /// # Errors
    /// When kubectl fails, with its standard error.
    pub fn token_on(&self, node: &str, namespace: &str, account: &str) -> Result<String> {
        let name = format!("{account}-{node}");
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name, "namespace": namespace },
            "spec": {
                "nodeName": node,
                "serviceAccountName": account,
                "containers": [{ "name": "main", "image": "none" }],
            },
        });
        self.apply(&pod.to_string())?;
        let bound = ["--bound-object-kind=Pod".to_owned(), format!("--bound-object-name={name}")];
        self.request_token(namespace, account, &bound)
    }

    /// A token of a service account that is bound to no pod, and so to no node.
    ///
    /// # Errors
    /// When kubectl fails, with its standard error.
    pub fn unbound_token(&self, namespace: &str, account: &str) -> Result<String> {
        self.request_token(namespace, account, &[])
    }

    fn request_token(&self, namespace: &str, account: &str, bound: &[String]) -> Result<String> {
        let namespace = format!("--namespace={namespace}");
        let mut args = vec!["create", "token", account, &namespace, "--duration=2h"];
        args.extend(bound.iter().map(String::as_str));
        Ok(self.kubectl(&args)?.trim().to_owned())
    }

    /// A kubeconfig file, `NAME.kubeconfig`, with which a client has this token.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn kubeconfig_of(&self, name: &str, token: &str) -> Result<PathBuf> {
        write_kubeconfig(self.dir.path(), &self.url, self.ca_certificate(), name, token)
    }
}
