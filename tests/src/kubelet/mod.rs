//! The kubelet of one node, played by a test: real objects, real cgroups, real network
//! namespaces, and processes instead of container images.
//!
//! What a kubelet does for a pod that is bound to its node is done here: the cgroups are made as
//! either cgroup driver names them for each quality of service, a process stands for the pause
//! container, and the status names the containers that run. Everything is below one
//! [`TestCgroup`].

mod layout;

use std::{collections::BTreeMap, net::IpAddr, process::Command, rc::Rc};

use anyhow::{Context, Result};
pub use layout::{Driver, Layout, QualityOfService};
use serde_json::{Value, json};

use crate::{
    cgroup::TestCgroup,
    control_plane::ControlPlane,
    machine::Claim,
    netns::TestNetns,
    process::{Place, Process},
};

/// The kubelet writes it on the mirror of a static pod; its value names the pod's cgroup.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// A node and what runs on it.
pub struct Kubelet<'p> {
    plane: &'p ControlPlane,
    node: String,
    root: TestCgroup,
}

/// A pod as a test wants it.
#[derive(Clone, Debug)]
pub struct PodSpec {
    pub namespace: String,
    pub name: String,
    pub layout: Layout,
    pub containers: Vec<String>,
    pub annotations: BTreeMap<String, String>,
    /// Its cgroup is named after its own UID, whatever the annotation of a mirror says.
    pub is_liar: bool,
}

impl PodSpec {
    /// A pod with one container, `main`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            layout: Layout::default(),
            containers: vec!["main".to_owned()],
            annotations: BTreeMap::new(),
            is_liar: false,
        }
    }

    #[must_use]
    pub fn layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// For a pod that says that it mirrors a static one, and does not.
    #[must_use]
    pub fn cgroup_of_its_own(self) -> Self {
        Self { is_liar: true, ..self }
    }

    #[must_use]
    pub fn container(mut self, name: &str) -> Self {
        self.containers.push(name.to_owned());
        self
    }

    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// A pod that runs, until it is dropped: its processes die then. The object stays.
#[derive(Debug)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Pods on the host's network have the same.
    pub netns: Rc<TestNetns>,
    _pause: Process,
    _sandbox: Container,
    containers: BTreeMap<String, Container>,
    // After the containers, which lie in it.
    cgroup: TestCgroup,
}

#[derive(Debug)]
struct Container {
    id: String,
    cgroup: TestCgroup,
}

impl<'p> Kubelet<'p> {
    /// Registers the node.
    pub fn start(plane: &'p ControlPlane, claim: &impl Claim, node: &str) -> Result<Self> {
        let object = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": node } });
        plane.apply(&object.to_string())?;
        Ok(Self { plane, node: node.to_owned(), root: TestCgroup::new(claim, "kubelet")? })
    }

    /// Creates a pod on this node and starts it.
    pub fn run(&self, spec: &PodSpec) -> Result<Pod> {
        self.run_in(spec, Rc::new(TestNetns::new()?), false)
    }

    /// The same for a pod with `hostNetwork`, where `other` stands for the host.
    pub fn run_on_network_of(&self, other: &Pod, spec: &PodSpec) -> Result<Pod> {
        self.run_in(spec, Rc::clone(&other.netns), true)
    }

    fn run_in(&self, spec: &PodSpec, netns: Rc<TestNetns>, is_host: bool) -> Result<Pod> {
        let PodSpec { namespace, name, .. } = spec;
        self.plane.apply(&self.object(spec, is_host).to_string())?;
        let of_uid = "--output=jsonpath={.metadata.uid}";
        let uid = self.plane.kubectl(&["get", "pod", name, "--namespace", namespace, of_uid])?;
        let mirrored = spec.annotations.get(MIRROR).filter(|_| !spec.is_liar);
        let pod = self.make(spec, mirrored.cloned().unwrap_or(uid), netns)?;
        self.report(&pod)?;
        Ok(pod)
    }

    fn make(&self, spec: &PodSpec, uid: String, netns: Rc<TestNetns>) -> Result<Pod> {
        let PodSpec { namespace, name, layout, containers, .. } = spec;
        let cgroup = self.root.child(layout.pod(&uid))?;
        let container = |number: usize| -> Result<Container> {
            let id = layout::container_id(&uid, number);
            Ok(Container { cgroup: cgroup.child(layout.container(&id))?, id })
        };
        let sandbox = container(0)?;
        let pause = pause(Place::here().cgroup(&sandbox.cgroup).netns(&netns))?;
        let containers = (1..)
            .zip(containers)
            .map(|(number, name)| Ok((name.clone(), container(number)?)))
            .collect::<Result<_>>()?;
        Ok(Pod {
            namespace: namespace.clone(),
            name: name.clone(),
            uid,
            netns,
            _pause: pause,
            _sandbox: sandbox,
            containers,
            cgroup,
        })
    }

    /// Starts a container anew: another id, another cgroup, as after a crash.
    pub fn restart(&self, pod: &mut Pod, spec: &PodSpec, container: &str) -> Result<()> {
        let number = pod.containers.len() + 100;
        let id = layout::container_id(&pod.uid, number);
        let cgroup = pod.cgroup.child(spec.layout.container(&id))?;
        pod.containers.insert(container.to_owned(), Container { id, cgroup });
        self.report(pod)
    }

    /// Says that the pod has these addresses, and no others: at most one of each family.
    pub fn set_addresses(&self, pod: &Pod, addresses: &[IpAddr]) -> Result<()> {
        let all: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
        self.write_status(pod, &json!({ "podIP": addresses.first(), "podIPs": all }))
    }

    /// Says that all containers of the pod have ended well, for good.
    pub fn finish(&self, pod: &Pod) -> Result<()> {
        self.write_status(pod, &json!({ "phase": "Succeeded", "containerStatuses": [] }))
    }

    /// Writes the status of a pod that runs.
    fn report(&self, pod: &Pod) -> Result<()> {
        let containers: Vec<Value> = pod
            .containers
            .iter()
            .map(|(name, container)| {
                json!({
                    "name": name,
                    "image": "none",
                    "imageID": "",
                    "ready": true,
                    "restartCount": 0,
                    "containerID": format!("containerd://{}", container.id),
                    "state": { "running": {} },
                })
            })
            .collect();
        self.write_status(pod, &json!({ "phase": "Running", "containerStatuses": containers }))
    }

    fn write_status(&self, pod: &Pod, status: &Value) -> Result<()> {
        let status = json!({ "status": status });
        self.plane.kubectl(&[
            "patch",
            "pod",
            &pod.name,
            "--namespace",
            &pod.namespace,
            "--subresource=status",
            "--type=merge",
            "--patch",
            &status.to_string(),
        ])?;
        Ok(())
    }

    fn object(&self, spec: &PodSpec, is_host: bool) -> Value {
        let PodSpec { namespace, name, containers, annotations, .. } = spec;
        let containers: Vec<Value> =
            containers.iter().map(|name| json!({ "name": name, "image": "none" })).collect();
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "namespace": namespace, "name": name, "annotations": annotations },
            "spec": { "nodeName": self.node, "hostNetwork": is_host, "containers": containers },
        })
    }
}

impl Pod {
    /// Where the processes of a container run.
    ///
    /// # Panics
    /// If the pod has no such container.
    pub fn place(&self, container: &str) -> Place<'_> {
        Place::here().cgroup(&self.containers[container].cgroup).netns(&self.netns)
    }

    /// The pod's, in which those of its containers are.
    pub fn cgroup(&self) -> &TestCgroup {
        &self.cgroup
    }

    /// In the pod's network, but in none of its containers: where a test's servers run.
    pub fn network(&self) -> Place<'_> {
        Place::here().netns(&self.netns)
    }
}

/// A process that does nothing and is called `pause`, as the kubelet's is.
fn pause(place: Place<'_>) -> Result<Process> {
    // It reads its standard input, which the test never writes.
    let mut command = Command::new("sh");
    command.args(["-c", "echo pause >/proc/self/comm && echo ready && read -r line"]);
    let process = Process::spawn(command, place)?;
    process.line(std::time::Duration::from_secs(10)).context("wait for the pause process")?;
    Ok(process)
}
