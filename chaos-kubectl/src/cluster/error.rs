//! Explains errors of requests: what went wrong, and what is to be done.

use std::error::Error as _;

use thiserror::Error;

use super::{Asked, Resource};

/// What a kubeconfig or the API server does not give.
#[derive(Debug, Error)]
pub enum ClusterError {
    #[error(
        "no cluster is configured: {0}; set KUBECONFIG, or give `--kubeconfig FILE` or `--context NAME` (`kubectl config get-contexts` lists them)"
    )]
    Config(String),
    #[error(
        "the API server {url} does not answer (to {asked}): {why}; is it the right one (`kubectl config view --minify`), and does `kubectl get --raw /readyz` answer?"
    )]
    Unreachable { url: String, asked: Asked, why: String },
    #[error(
        "this cluster does not know {resource}: the kinds of chaos-agent are not installed; `kubectl apply -k manifests/controller` installs them (docs/experiments.md)"
    )]
    NotInstalled { resource: Resource },
    #[error(
        "you may not {asked}: the right `{verb}` on `{resource}` is missing; {role}. Whoever administrates the cluster can bind it to you; `kubectl chaos doctor` shows all that you may do",
        verb = .asked.verb, resource = .asked.resource, role = .asked.resource.role(.asked.verb)
    )]
    Forbidden { asked: Asked },
    #[error("a policy of the cluster forbids to {asked}: {message}")]
    Denied { asked: Asked, message: String },
    #[error(
        "the API server does not know who you are (to {asked}); log in anew, as your kubeconfig's user has it"
    )]
    Unknown { asked: Asked },
    #[error("there is no {what}{place}; {remedy}", what = singular(.asked), place = place(.asked))]
    NotFound { asked: Asked, remedy: String },
    #[error("the API server refuses to {asked}: {message}")]
    Refused { asked: Asked, message: String },
    #[error("cannot {asked}: {why}")]
    Other { asked: Asked, why: String },
}

impl ClusterError {
    /// What an error of a request means.
    pub fn of(error: kube::Error, asked: Asked, url: &str) -> Self {
        let status = match error {
            kube::Error::Api(status) => status,
            kube::Error::HyperError(_) | kube::Error::Service(_) => {
                let why = innermost(&error);
                return Self::Unreachable { url: url.to_owned(), asked, why };
            }
            other => return Self::Other { asked, why: innermost(&other) },
        };
        let message = status.message.trim().to_owned();
        match status.code {
            401 => Self::Unknown { asked },
            // RBAC says what is missing; an admission policy says so in words of its own.
            403 if message.contains(" is forbidden: User ") => Self::Forbidden { asked },
            403 => Self::Denied { asked, message },
            404 if is_about_the_kind(&message) => Self::NotInstalled { resource: asked.resource },
            404 => {
                let remedy = remedy(&asked);
                Self::NotFound { asked, remedy }
            }
            _ => Self::Refused { asked, message },
        }
    }

    /// Whether a right is missing.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::Denied { .. })
    }

    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// Whether a 404 is about a path that the server does not have.
fn is_about_the_kind(message: &str) -> bool {
    message.contains("page not found") || message.contains("could not find the requested resource")
}

fn remedy(asked: &Asked) -> String {
    match (asked.resource, &asked.namespace) {
        (Resource::Runs, Some(namespace)) => {
            format!("`kubectl chaos list -n {namespace}` lists those that are there")
        }
        (Resource::Leases, _) => {
            "no controller has run there; give `--agent-namespace` if the agents are elsewhere"
                .to_owned()
        }
        (resource, Some(namespace)) => {
            format!("`kubectl get {} -n {namespace}` lists those that are there", resource.plural())
        }
        (resource, None) => {
            format!("`kubectl get {}` lists those that are there", resource.plural())
        }
    }
}

fn singular(asked: &Asked) -> String {
    let plural = asked.resource.plural();
    let kind = plural.strip_suffix('s').unwrap_or(plural);
    match &asked.name {
        Some(name) => format!("{kind} {name}"),
        None => kind.to_owned(),
    }
}

fn place(asked: &Asked) -> String {
    asked
        .namespace
        .as_ref()
        .map(|namespace| format!(" in namespace {namespace}"))
        .unwrap_or_default()
}

/// The cause at the bottom: what lies above says only that there was one.
fn innermost(error: &kube::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        message = inner.to_string();
        cause = inner.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, message: &str) -> kube::Error {
        let status = serde_json::json!({ "status": "Failure", "code": code, "message": message });
        kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()))
    }

    fn said(code: u16, message: &str) -> String {
        let asked = Asked::to("create", Resource::Runs, "", "shop");
        ClusterError::of(answer(code, message), asked, "https://10.0.0.1").to_string()
    }

    #[test]
    fn each_refusal_says_what_is_missing_and_what_to_do() {
        let forbidden =
            r#"runs.chaos-agent.dev is forbidden: User "eve" cannot create resource "runs""#;
        let said_of_rights = said(403, forbidden);
        assert!(
            said_of_rights.starts_with(
                "you may not create runs.chaos-agent.dev in namespace shop: the right `create` on `runs.chaos-agent.dev` is missing; the ClusterRole chaos-runner has it"
            ),
            "{said_of_rights}"
        );
        assert!(said(404, "404 page not found").contains("kubectl apply -k manifests/controller"));
        assert_eq!(
            said(422, "Run.chaos-agent.dev \"x\" is invalid"),
            "the API server refuses to create runs.chaos-agent.dev in namespace shop: Run.chaos-agent.dev \"x\" is invalid"
        );
        assert!(said(401, "Unauthorized").contains("log in anew"));
        let asked = Asked::to("get", Resource::Runs, "x", "shop");
        let error = ClusterError::of(answer(404, "runs \"x\" not found"), asked, "");
        assert_eq!(
            error.to_string(),
            "there is no run x in namespace shop; `kubectl chaos list -n shop` lists those that are there"
        );
        assert!(error.is_not_found());
    }
}
