//! `doctor`: looks at what experiments need.

use chaos_controller::AGENT_LABEL;
use jiff::Timestamp;
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy,
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::{Node, Pod},
};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, PostParams},
};

use super::why::{known, lease, namespace};
use crate::{
    cli::DoctorArgs,
    cluster::{Asked, Cluster, ClusterError, Resource},
    diagnosis::{
        Known,
        doctor::{Facts, POLICIES, Right, Verdict, examine, is_bad},
    },
    exit::Exit,
    failure::Failure,
    output,
    printable::Printable,
    terminal,
    view::checks,
};

/// The value of the label that the controller's pods have.
const CONTROLLER: &str = "chaos-controller";

/// Looks at everything, and says what is to be done.
pub async fn execute(cluster: &Cluster, args: &DoctorArgs) -> Result<Exit, Failure> {
    let kinds = kinds(cluster).await?;
    let (key, agent) = AGENT_LABEL;
    let facts = Facts {
        namespace_name: cluster.namespace.clone(),
        agent_namespace: cluster.agents.clone(),
        kinds,
        agents: pods(cluster, key, agent).await,
        controllers: pods(cluster, key, CONTROLLER).await,
        nodes: nodes(cluster).await,
        lease: lease(cluster).await,
        policies: policies(cluster).await,
        namespace: namespace(cluster, &cluster.namespace).await,
        rights: rights(cluster).await,
        now: Timestamp::now(),
    };
    let examined = examine(&facts);
    match args.output {
        Some(format) => {
            let bad = examined.iter().filter(|check| check.verdict == Verdict::Bad);
            let names: Vec<&str> = bad.map(|check| check.subject.as_str()).collect();
            output::object(&examined, &names.join("\n"), format)?;
        }
        None => {
            let examined = Printable::of(&examined)?;
            output::line(&checks(&examined, terminal::size().width).join("\n"))?;
        }
    }
    Ok(if is_bad(&examined) { Exit::Failed } else { Exit::Done })
}

/// The kinds that the server knows. Whoever may log in may ask; where nobody answers, there is nothing to look at.
async fn kinds(cluster: &Cluster) -> Result<Known<Vec<String>>, Failure> {
    let listed = cluster.client.list_api_group_resources("chaos-agent.dev/v1alpha1").await;
    let asked = Asked::list(Resource::Definitions, "");
    match listed {
        Ok(list) => Ok(Known::Is(list.resources.into_iter().map(|one| one.name).collect())),
        Err(error) => match cluster.explain(error, asked) {
            ClusterError::NotFound { .. } | ClusterError::NotInstalled { .. } => {
                Ok(Known::Is(Vec::new()))
            }
            error @ (ClusterError::Unreachable { .. }
            | ClusterError::Unknown { .. }
            | ClusterError::Config(_)) => Err(error.into()),
            error @ (ClusterError::Forbidden { .. }
            | ClusterError::Denied { .. }
            | ClusterError::Refused { .. }
            | ClusterError::Other { .. }) => Ok(Known::No(error.to_string())),
        },
    }
}

async fn pods(cluster: &Cluster, key: &str, value: &str) -> Known<Vec<Pod>> {
    let params = ListParams::default().labels(&format!("{key}={value}"));
    let listed = cluster.pods(&cluster.agents).list(&params).await;
    let asked = Asked::list(Resource::Pods, &cluster.agents);
    known(cluster, listed.map(|list| list.items), asked)
}

async fn nodes(cluster: &Cluster) -> Known<Vec<String>> {
    let api: Api<Node> = Api::all(cluster.client.clone());
    let listed = api.list_metadata(&ListParams::default()).await;
    let names = listed.map(|list| list.iter().map(|node| node.name_any()).collect());
    known(cluster, names, Asked::list(Resource::Nodes, ""))
}

/// Those of the policies that are there.
async fn policies(cluster: &Cluster) -> Known<Vec<String>> {
    let api: Api<ValidatingAdmissionPolicy> = Api::all(cluster.client.clone());
    let mut found = Vec::new();
    for name in POLICIES {
        let asked = Asked::to("get", Resource::Policies, name, "");
        match known(cluster, api.get_metadata_opt(name).await, asked) {
            Known::Is(Some(_)) => found.push(name.to_owned()),
            Known::Is(None) => {}
            Known::No(why) => return Known::No(why),
        }
    }
    Known::Is(found)
}

/// What the user may do, of what the verbs of this program need.
async fn rights(cluster: &Cluster) -> Vec<Right> {
    let here = cluster.namespace.as_str();
    let agents = cluster.agents.as_str();
    let wanted = [
        ("run, start, plan", "create", Resource::Runs, here, true),
        ("list", "list", Resource::Runs, here, true),
        ("watch", "watch", Resource::Runs, here, true),
        ("watch", "get", Resource::Runs, here, true),
        ("halt", "patch", Resource::Runs, here, true),
        ("plan", "delete", Resource::Runs, here, true),
        ("start", "get", Resource::Experiments, here, false),
        ("run deploy/…", "get", Resource::Deployments, here, false),
        ("why", "get", Resource::Pods, here, false),
        ("halt --wait", "list", Resource::Pods, here, false),
        ("report", "get", Resource::ConfigMaps, here, false),
        ("halt --cluster", "patch", Resource::Leases, agents, false),
    ];
    let mut rights = Vec::new();
    for (used_for, verb, resource, place, is_needed) in wanted {
        let asked = Asked::to(verb, resource, "", place);
        let granted = may(cluster, &asked).await;
        rights.push(Right { used_for, asked, is_needed, granted });
    }
    rights
}

async fn may(cluster: &Cluster, asked: &Asked) -> Known<bool> {
    let resource = asked.resource;
    let name = (resource == Resource::Leases).then(|| chaos_kube::GUARD.to_owned());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(resource.group().to_owned()),
                resource: Some(resource.plural().to_owned()),
                verb: Some(asked.verb.to_owned()),
                namespace: asked.namespace.clone(),
                name,
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let made = api.create(&PostParams::default(), &review).await;
    let granted = made.map(|review| review.status.is_some_and(|status| status.allowed));
    known(cluster, granted, Asked::to("create", Resource::Reviews, "", ""))
}
