//! A request to the API server, and what is to become of it.

use std::fmt;

use anyhow::{Result, bail, ensure};
use kube::{
    Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::{Request as Builder, params::GetParams},
};
use serde_json::Value;

/// What is done to one object, or to all of a kind.
#[derive(Clone, Debug)]
pub enum Verb {
    Get,
    List,
    Create(Value),
    Delete,
    DeleteAll,
    /// A JSON merge patch.
    Merge(Value),
    /// Server-side apply, by force.
    Apply(Value),
    /// The same of a subresource.
    MergeOf(&'static str, Value),
    ApplyOf(&'static str, Value),
    ReplaceOf(&'static str, Value),
    CreateOf(&'static str, Value),
}

/// A request: `kind` is the path of all objects of one kind in one place.
#[derive(Clone, Debug)]
pub struct Request {
    pub kind: String,
    pub name: String,
    pub verb: Verb,
    /// Nothing is stored.
    pub dry_run: bool,
}

/// What the server says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// RBAC grants no such right.
    NoRight,
    /// The API server takes it from nobody.
    Invalid,
    /// A policy refuses it, with these words.
    Policy(&'static str),
}

impl Request {
    /// Of a core kind, such as `pods`, in a namespace.
    pub fn to(kind: &str, namespace: &str, name: &str, verb: Verb) -> Self {
        Self::at(&format!("/api/v1/namespaces/{namespace}/{kind}"), name, verb)
    }

    /// By the path of the kind.
    pub fn at(kind: &str, name: &str, verb: Verb) -> Self {
        Self { kind: kind.to_owned(), name: name.to_owned(), verb, dry_run: false }
    }

    pub fn dry_run(self) -> Self {
        Self { dry_run: true, ..self }
    }

    /// Sends it; fails when the answer is another one.
    pub async fn expect(&self, client: &Client, expected: Answer) -> Result<()> {
        let said = match (self.send(client).await, expected) {
            (Ok(_), Answer::Done) => return Ok(()),
            (Ok(said), _) => bail!("{self}: allowed: {said}"),
            (Err(kube::Error::Api(status)), _) => status,
            (Err(error), _) => return Err(error.into()),
        };
        let message = &said.message;
        let as_expected = match expected {
            Answer::Done => false,
            Answer::NoRight => said.code == 403 && message.contains("cannot "),
            Answer::Invalid => said.code == 422,
            Answer::Policy(words) => {
                let by_policy = message.contains("ValidatingAdmissionPolicy 'chaos-");
                said.code == 403 && by_policy && message.contains(words)
            }
        };
        ensure!(
            as_expected,
            "{self}: expected {expected:?}, the server said {}: {message}",
            said.code
        );
        Ok(())
    }

    async fn send(&self, client: &Client) -> kube::Result<String> {
        let Self { kind, name, verb, dry_run } = self;
        let builder = Builder::new(kind.as_str());
        let post = PostParams { dry_run: *dry_run, field_manager: None };
        let merge = PatchParams { dry_run: *dry_run, ..PatchParams::default() };
        let apply = PatchParams { dry_run: *dry_run, ..PatchParams::apply("chaos-agent").force() };
        let bytes = |value: &Value| value.to_string().into_bytes();
        let request = match verb {
            Verb::Get => builder.get(name, &GetParams::default()),
            Verb::List => builder.list(&ListParams::default()),
            Verb::Create(value) => builder.create(&post, bytes(value)),
            Verb::Delete => builder.delete(name, &DeleteParams::default()),
            Verb::DeleteAll => {
                builder.delete_collection(&DeleteParams::default(), &ListParams::default())
            }
            Verb::Merge(value) => builder.patch(name, &merge, &Patch::Merge(value)),
            Verb::Apply(value) => builder.patch(name, &apply, &Patch::Apply(value)),
            Verb::MergeOf(sub, value) => {
                builder.patch_subresource(sub, name, &merge, &Patch::Merge(value))
            }
            Verb::ApplyOf(sub, value) => {
                builder.patch_subresource(sub, name, &apply, &Patch::Apply(value))
            }
            Verb::ReplaceOf(sub, value) => {
                builder.replace_subresource(sub, name, &post, bytes(value))
            }
            Verb::CreateOf(sub, value) => {
                builder.create_subresource(sub, name, &post, bytes(value))
            }
        };
        client.request_text(request.map_err(kube::Error::BuildRequest)?).await
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}/{}", self.verb, self.kind, self.name)
    }
}
