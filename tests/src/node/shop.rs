//! What runs on a node: Deployments in a namespace that allows faults, whose pods are broken and
//! looked at from inside.

use std::{marker::PhantomData, net::Ipv4Addr, process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use chaos_kube::{ALLOW_VERBS, ENABLED, FAULTS, STATUS, Status};
use serde_json::{Value, json};
use xtask::node::NodeKit;

use super::Node;
use crate::{
    control_plane::Identity,
    job::{Job, Options, Ready},
    process::{Place, Process},
    victim::parse_report,
};

/// The path of the victim in its image.
const VICTIM: &str = "/victim";

/// How long a job in a container may take.
const PATIENCE: Duration = super::PATIENCE;

/// A namespace that allows faults.
#[derive(Debug, Clone)]
pub struct Shop {
    node: Arc<Node>,
    namespace: String,
}

/// A Deployment of one pod, as a test wants it.
#[derive(Debug)]
pub struct Deployment<'a> {
    name: &'a str,
    containers: Vec<(&'a str, Content<'a>)>,
    /// The pod is ready when something listens there.
    port: Option<u16>,
    is_privileged: bool,
    profile: Option<&'a str>,
}

/// What runs in a container.
#[derive(Debug)]
enum Content<'a> {
    /// The victim, with the job that it does all the time.
    Victim(Job),
    Redis {
        arguments: &'a [&'a str],
    },
}

impl<'a> Deployment<'a> {
    /// With containers of these names, each with the job that it does all the time.
    pub fn new(name: &'a str, containers: Vec<(&'a str, Job)>) -> Self {
        let victim = |(name, job)| (name, Content::Victim(job));
        Self::of(name, containers.into_iter().map(victim).collect())
    }

    /// With one container, a Redis with these arguments.
    pub fn redis(name: &'a str, container: &'a str, arguments: &'a [&'a str]) -> Self {
        Self::of(name, vec![(container, Content::Redis { arguments })])
    }

    fn of(name: &'a str, containers: Vec<(&'a str, Content<'a>)>) -> Self {
        Self { name, containers, port: None, is_privileged: false, profile: None }
    }

    /// Its containers are ready when they listen on this port.
    pub fn listening_on(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// It sees the node's processes, and may do to them what root may.
    pub fn privileged(self) -> Self {
        Self { is_privileged: true, ..self }
    }

    /// Its containers run under a seccomp profile that is on the node.
    pub fn under(self, profile: &'a str) -> Self {
        Self { profile: Some(profile), ..self }
    }

    fn security_context(&self) -> Value {
        let mut context = json!({ "privileged": self.is_privileged });
        if let Some(profile) = self.profile {
            let profile = json!({ "type": "Localhost", "localhostProfile": profile });
            context["seccompProfile"] = profile;
        }
        context
    }
}

impl Content<'_> {
    /// A container without a name.
    fn container(&self) -> Result<Value> {
        Ok(match self {
            Self::Victim(job) => json!({
                "image": NodeKit::VICTIM_IMAGE,
                "args": [serde_json::to_string(job).context("write a job as JSON")?],
                // A job ends with its standard input.
                "stdin": true,
            }),
            Self::Redis { arguments } => {
                json!({ "image": NodeKit::REDIS_IMAGE, "args": arguments })
            }
        })
    }
}

/// A pod that runs.
#[derive(Debug)]
pub struct Pod {
    shop: Shop,
    pub name: String,
    pub address: Ipv4Addr,
}

impl Shop {
    /// Makes the namespace.
    pub fn open(node: &Arc<Node>, namespace: &str) -> Result<Self> {
        let annotations = json!({ ALLOW_VERBS: "default, kill, kill container" });
        let metadata =
            json!({ "name": namespace, "labels": { ENABLED: "true" }, "annotations": annotations });
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
        node.plane.apply(&object.to_string())?;
        Ok(Self { node: Arc::clone(node), namespace: namespace.to_owned() })
    }

    /// Applies a Deployment and waits for its pod.
    pub fn deploy(&self, deployment: &Deployment<'_>) -> Result<Pod> {
        let Deployment { name, is_privileged, .. } = deployment;
        let containers = deployment
            .containers
            .iter()
            .map(|(name, content)| {
                let mut container = content.container()?;
                container["name"] = json!(name);
                container["securityContext"] = deployment.security_context();
                if let Some(port) = deployment.port {
                    let probe = json!({ "tcpSocket": { "port": port }, "periodSeconds": 1 });
                    container["readinessProbe"] = probe;
                }
                Ok(container)
            })
            .collect::<Result<Vec<_>>>()?;
        let labels = json!({ "app": name });
        let object = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": name, "namespace": self.namespace },
            "spec": {
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "hostPID": is_privileged,
                        "containers": containers,
                    },
                },
            },
        });
        self.node.plane.apply(&object.to_string())?;
        let Self { namespace, node } = self;
        let patience = PATIENCE.as_secs();
        node.kubectl(&format!(
            "rollout status deployment/{name} --namespace {namespace} --timeout {patience}s"
        ))?;
        let output = "--output=jsonpath={.items[0].metadata.name} {.items[0].status.podIP}";
        let selector = format!("--selector=app={name}");
        let found =
            node.plane.kubectl(&["get", "pods", "--namespace", namespace, &selector, output])?;
        let (name, address) = found.split_once(' ').context("a pod has a name and an address")?;
        let address = address.parse().with_context(|| format!("address {address:?}"))?;
        Ok(Pod { shop: self.clone(), name: name.to_owned(), address })
    }
}

impl Shop {
    /// A pod that somebody else has made.
    pub fn pod(&self, name: &str) -> Result<Pod> {
        let Self { node, namespace } = self;
        let output = "--output=jsonpath={.status.podIP}";
        let found = node.plane.kubectl(&["get", "pod", name, "--namespace", namespace, output])?;
        let address = found.parse().with_context(|| format!("address {found:?} of {name}"))?;
        Ok(Pod { shop: self.clone(), name: name.to_owned(), address })
    }
}

impl Pod {
    /// Writes the fault annotation, or removes it.
    pub fn annotate(&self, faults: Option<&str>) -> Result<()> {
        let change = faults.map_or(format!("{FAULTS}-"), |text| format!("{FAULTS}={text}"));
        let Shop { node, namespace } = &self.shop;
        let annotate = ["annotate", "pod", &self.name, "--namespace", namespace, "--overwrite"];
        node.plane.kubectl(&[&annotate[..], &[&change]].concat())?;
        Ok(())
    }

    /// What the agent has written on the pod.
    pub fn status(&self) -> Result<Option<Status>> {
        let Shop { node, namespace } = &self.shop;
        let get = ["get", "pod", &self.name, "--namespace", namespace, "--output=json"];
        let pod: Value = serde_json::from_str(&node.plane.kubectl(&get)?).context("a pod")?;
        let Some(text) = pod["metadata"]["annotations"][STATUS].as_str() else { return Ok(None) };
        serde_json::from_str(text).map(Some).with_context(|| format!("status {text:?}"))
    }

    /// Waits until the agent says what is `wanted`.
    pub fn await_status(&self, wanted: impl Fn(&Status) -> bool) -> Result<Status> {
        let look = || Ok(self.status()?.filter(|status| wanted(status)));
        self.shop
            .node
            .await_some(format_args!("the wanted status of {}", self.name), look)
            .with_context(|| format!("the last one is {:#?}", self.status()))
    }

    /// Starts a job in one of the pod's containers, by `kubectl exec`, and waits until it is set up.
    pub fn start<O: Options>(&self, container: &str, options: O) -> Result<Exec<O>> {
        let job: Job = options.into();
        let job = serde_json::to_string(&job).context("write a job as JSON")?;
        let Shop { node, namespace } = &self.shop;
        let admin = node.plane.kubeconfig(Identity::Admin);
        let mut command = node.plane.kubectl_command(admin);
        // The job ends with its standard input, which stays open as long as the process lives.
        command.args(["exec", "--stdin", &self.name, "--namespace", namespace]);
        command.args(["--container", container, "--", VICTIM, &job]).stderr(Stdio::inherit());
        let process = Process::spawn(command, Place::here())?;
        let ready = process.line(PATIENCE).context("wait for a job in a container")?;
        let _: Ready =
            serde_json::from_str(&ready).with_context(|| format!("it said {ready:?}"))?;
        Ok(Exec { process, job: PhantomData })
    }

    /// Does a job that ends by itself in one of the pod's containers.
    pub fn run<O: Options>(&self, container: &str, options: O) -> Result<O::Report> {
        self.start(container, options)?.report()
    }
}

/// A job that is done in a container.
#[derive(Debug)]
pub struct Exec<O> {
    process: Process,
    job: PhantomData<O>,
}

impl<O: Options> Exec<O> {
    /// Waits for the report of a job that ends by itself.
    pub fn report(mut self) -> Result<O::Report> {
        let report = self.process.line(PATIENCE).context("wait for the report from a container")?;
        let status = self.process.wait(PATIENCE)?;
        if !status.success() {
            bail!("kubectl exec: {status}");
        }
        parse_report::<O>(&report)
    }

    /// Waits for the end of a job that makes no report, and for its exit code, as kubectl has it.
    pub fn exit_code(mut self) -> Result<Option<i32>> {
        Ok(self.process.wait(PATIENCE)?.code())
    }

    /// Tells it to stop and waits for its report.
    pub fn stop(mut self) -> Result<O::Report> {
        self.process.close_stdin();
        self.report()
    }
}
