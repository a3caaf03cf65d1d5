//! What a pod's facts ask of the node. Pure.

use std::net::IpAddr;

use chaos_api::{AllowedVerbs, ArmedId, ContainerId, Policy, RefusalCause, TargetSpec};
use chaos_fault::Fault;
use chaos_plan::{Scope, Terms, by_container, seed_from};

use super::{
    kills::{Kill, kills as is_killing},
    names::{ALLOW_VERBS, ENABLED, FAULTS, OWNER, PodName},
    observed::{Observed, PodAddresses},
    texts::Text,
};

/// What guarded faults wait for.
const UNGUARDED: &str = "the guard has not moved since this agent watches it";

/// What is to be armed for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Desired {
    /// There is no annotation.
    Nothing,
    /// There is one, and its time is over, whatever it says.
    Over(String),
    /// There is one that nothing is done for.
    Refused(RefusalCause, Vec<String>),
    Faults(Asked),
}

/// A text that can be read, for a pod that may be a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Every fault, in the order of the text.
    pub faults: Vec<Fault>,
    /// Faults by where they go: the whole pod, single containers.
    pub asks: Vec<Assignment>,
    /// Those that kill containers.
    pub kills: Vec<Kill>,
}

/// The faults for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub id: ArmedId,
    pub target: Place,
    pub faults: Vec<Fault>,
    /// For each of `faults` its index in [`Asked::faults`].
    pub indices: Vec<usize>,
    pub terms: Terms,
}

/// Where faults go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    At {
        spec: TargetSpec,
        name: String,
        /// Containers of which at least one is to be found in the pod's cgroup.
        confirmed_by: Vec<ContainerId>,
    },
    /// It is not there yet, and this is what is waited for.
    Awaited(String),
}

impl Place {
    /// The containers that run there, or what is waited for.
    fn running(&self) -> Result<Vec<ContainerId>, String> {
        match self {
            Self::At { confirmed_by, .. } if confirmed_by.is_empty() => {
                Err("no container of the pod runs".to_owned())
            }
            Self::At { confirmed_by, .. } => Ok(confirmed_by.clone()),
            Self::Awaited(reason) => Err(reason.clone()),
        }
    }
}

/// What a pod asks for. `policy` holds for every pod of the node; `node_ips` are exempt.
pub(super) fn wanted(facts: &Observed, policy: &Policy, node_ips: &[IpAddr]) -> Desired {
    let Some(text) = &facts.text else {
        return Desired::Nothing;
    };
    if facts.is_over {
        return Desired::Over("the pod has finished".to_owned());
    }
    if let Some(reason) = &facts.orders.lever {
        return Desired::Over(format!(
            "the cluster is halted: {reason}; write the faults anew when that is lifted"
        ));
    }
    match asked(facts, text, policy, node_ips) {
        Ok(asked) => Desired::Faults(asked),
        Err((cause, messages)) => Desired::Refused(cause, messages),
    }
}

fn asked(
    facts: &Observed,
    text: &Text,
    policy: &Policy,
    node_ips: &[IpAddr],
) -> Result<Asked, (RefusalCause, Vec<String>)> {
    let PodName { namespace, .. } = &facts.name;
    if policy.protected().contains(namespace) {
        let message = format!("pods of namespace {namespace} are never targets");
        return Err((RefusalCause::Policy, vec![message]));
    }
    let Some(allowed) = &facts.allows else {
        let message =
            format!("namespace {namespace} does not allow faults; label it {ENABLED}=true");
        return Err((RefusalCause::Policy, vec![message]));
    };
    let mut faults = text.faults.clone().map_err(|messages| (RefusalCause::Text, messages))?;
    if faults.is_empty() {
        let message = format!("annotation {FAULTS} has no fault; remove it to end faults");
        return Err((RefusalCause::Text, vec![message]));
    }
    let forbidden: Vec<String> =
        faults.iter().filter_map(|fault| forbidden(fault, policy, allowed, namespace)).collect();
    if !forbidden.is_empty() {
        return Err((RefusalCause::Policy, forbidden));
    }
    let of_target = |messages| (RefusalCause::Target, messages);
    look_up(&mut faults, facts).map_err(of_target)?;
    let (mut asks, mut kills) = (Vec::new(), Vec::new());
    for (container, share) in by_container(&faults) {
        let target = place(facts, container.as_deref()).map_err(of_target)?;
        let (killing, share) = share.split(is_killing);
        kills.extend(killing.indices.iter().zip(&killing.faults).map(|(index, fault)| Kill {
            index: *index,
            shadow: fault.shadow,
            running: match facts.orders.is_awaited && fault.guarded {
                true => Err(UNGUARDED.to_owned()),
                false => target.running(),
            },
        }));
        if share.faults.is_empty() {
            continue;
        }
        let is_awaited = facts.orders.is_awaited && share.faults.iter().any(|fault| fault.guarded);
        let target = if is_awaited { Place::Awaited(UNGUARDED.to_owned()) } else { target };
        asks.push(Assignment {
            id: id(&facts.name, container.as_deref()),
            target,
            terms: terms(facts, container, policy, node_ips),
            faults: share.faults,
            indices: share.indices,
        });
    }
    Ok(Asked { faults, asks, kills })
}

/// Why a fault may not be used, because of its verb.
fn forbidden(
    fault: &Fault,
    policy: &Policy,
    by_namespace: &AllowedVerbs,
    namespace: &str,
) -> Option<String> {
    let words = fault.verb.words();
    if !policy.verbs().admits(&fault.verb) {
        let allowed = policy.verbs();
        return Some(format!(
            "`{fault:#}`: this node does not allow `{words}`; it allows {allowed} (`--allow-verbs` of its agent)"
        ));
    }
    if by_namespace.admits(&fault.verb) {
        return None;
    }
    Some(format!(
        "`{fault:#}`: namespace {namespace} does not allow `{words}`; annotate it, such as \
         {ALLOW_VERBS}='default, {words}'"
    ))
}

/// Gives the pods that faults name their addresses.
fn look_up(faults: &mut [Fault], facts: &Observed) -> Result<(), Vec<String>> {
    let mut messages = Vec::new();
    for (pod, addresses) in faults.iter_mut().flat_map(Fault::pods_mut) {
        let remedy = "write its address, such as `to 10.244.0.7`";
        match facts.peers.get(pod) {
            Some(PodAddresses::At(found)) if !found.is_empty() => addresses.clone_from(found),
            Some(PodAddresses::At(_)) => messages.push(format!("pod {pod} has no address yet")),
            Some(PodAddresses::OnHostNetwork) => messages.push(format!(
                "pod {pod} has the addresses of its node, which others have, too; {remedy}"
            )),
            None => messages.push(format!("pod {pod} is not on this node; {remedy}")),
        }
    }
    if messages.is_empty() { Ok(()) } else { Err(messages) }
}

fn id(name: &PodName, container: Option<&str>) -> ArmedId {
    ArmedId(match container {
        None => format!("{OWNER}:{name}"),
        Some(container) => format!("{OWNER}:{name}/{container}"),
    })
}

fn place(facts: &Observed, container: Option<&str>) -> Result<Place, Vec<String>> {
    let Some(uid) = facts.cgroup.clone() else {
        return Err(vec!["the pod's UID is no name of a cgroup".to_owned()]);
    };
    let known = |id: Option<ContainerId>, name: String, confirmed_by: Vec<ContainerId>| Place::At {
        spec: TargetSpec::Pod { uid, container: id },
        name,
        confirmed_by,
    };
    let Some(container) = container else {
        let running = facts.running();
        // Whoever creates a pod chooses its annotations, but only the kubelet its status.
        if facts.is_mirror && running.is_empty() {
            return Ok(Place::Awaited("no container of the static pod runs yet".to_owned()));
        }
        return Ok(known(None, facts.name.to_string(), running));
    };
    match facts.containers.get(container) {
        Some(Some(id)) => {
            let name = format!("{}/{container}", facts.name);
            Ok(known(Some(id.clone()), name, vec![id.clone()]))
        }
        Some(None) => Ok(Place::Awaited(format!("container {container} does not run"))),
        None => {
            let names: Vec<&str> = facts.containers.keys().map(String::as_str).collect();
            let names = names.join(", ");
            Err(vec![format!("the pod has no container `{container}`; it has {names}")])
        }
    }
}

fn terms(
    facts: &Observed,
    container: Option<String>,
    policy: &Policy,
    node_ips: &[IpAddr],
) -> Terms {
    // From the name: an agent that resumes decides as the one before, a StatefulSet's pod as on
    // the last run, and no two replicas lose the same packets.
    let mut terms = policy.terms(
        seed_from(&facts.name.to_string()).into(),
        container.map_or(Scope::Pod, Scope::Container),
    );
    terms.has_guard = true;
    // Where the pod's own address is the node's, no packet would be left with it exempt. What the
    // operator exempts stays so.
    if !facts.host_network {
        terms.exempt.extend(node_ips);
    }
    terms
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::guard::Orders;

    const NODE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn id_of(digit: char) -> ContainerId {
        digit.to_string().repeat(64).parse().unwrap()
    }

    fn pod(text: &str) -> Observed {
        Observed {
            name: PodName { namespace: "shop".into(), name: "web-0".into() },
            uid: "0f-1".into(),
            cgroup: Some("0f-1".parse().unwrap()),
            is_mirror: false,
            host_network: false,
            containers: BTreeMap::from([
                ("init".into(), None),
                ("main".into(), Some(id_of('a'))),
                ("db".into(), Some(id_of('b'))),
            ]),
            is_over: false,
            allows: Some(AllowedVerbs::default()),
            text: Some(Arc::new(Text::read(text))),
            peers: BTreeMap::new(),
            orders: Orders::default(),
            recorded: BTreeMap::new(),
        }
    }

    fn of(facts: &Observed) -> Desired {
        wanted(facts, &Policy::default(), &[NODE])
    }

    fn asks(facts: &Observed) -> Vec<Assignment> {
        match of(facts) {
            Desired::Faults(asked) => asked.asks,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(facts: &Observed) -> String {
        match of(facts) {
            Desired::Refused(_, messages) => messages.join("\n"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_annotation_nothing_and_of_a_finished_pod_nothing_more() {
        assert_eq!(of(&Observed { text: None, ..pod("") }), Desired::Nothing);
        let over = Observed { is_over: true, ..pod("drop egress") };
        assert!(matches!(of(&over), Desired::Over(_)));
    }

    #[test]
    fn namespaces_must_allow_it_and_some_never_do() {
        let refused = refusal(&Observed { allows: None, ..pod("drop egress") });
        assert!(refused.contains("label it chaos-agent.dev/enabled=true"), "{refused}");
        let name = PodName { namespace: "kube-system".into(), name: "dns".into() };
        let of_system = Observed { name, ..pod("drop egress") };
        let refused = refusal(&of_system);
        assert!(refused.contains("never targets"), "{refused}");
        // The operator of the node decides which.
        let others = Policy::default().protecting(["shop".to_owned()].into());
        assert!(matches!(wanted(&of_system, &others, &[]), Desired::Faults(_)));
        assert!(matches!(
            wanted(&pod("drop"), &others, &[]),
            Desired::Refused(RefusalCause::Policy, _)
        ));
    }

    #[test]
    fn a_verb_must_be_allowed_by_the_node_and_by_the_namespace() {
        let text = "drop egress; kill accept";
        let refused = refusal(&pod(text));
        assert_eq!(
            refused,
            "`kill accept`: namespace shop does not allow `kill`; annotate it, such as \
             chaos-agent.dev/allow-verbs='default, kill'"
        );
        let with_kill = Observed { allows: Some(AllowedVerbs::all()), ..pod(text) };
        assert_eq!(asks(&with_kill).len(), 1);
        let few = Policy::default().allowing("drop, delay".parse().unwrap());
        let Desired::Refused(_, refused) = wanted(&with_kill, &few, &[]) else { panic!() };
        assert!(refused[0].contains("this node does not allow `kill`; it allows delay, drop ("));
        assert!(matches!(wanted(&pod("drop"), &few, &[]), Desired::Faults(_)));
        let none = Observed { allows: Some("".parse().unwrap()), ..pod("drop") };
        assert!(refusal(&none).contains("namespace shop does not allow `drop`"));
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let refused = refusal(&pod("drip egress\ndrop 200%"));
        assert!(refused.contains("line 1, column 1") && refused.contains("line 2"), "{refused}");
        assert!(refusal(&pod("  # nothing")).contains("no fault"));
    }

    #[test]
    fn faults_are_split_by_container_and_keep_their_places() {
        let asks = asks(&pod("drop egress in container db\ndrop ingress"));
        let ids: Vec<&str> = asks.iter().map(|ask| ask.id.0.as_str()).collect();
        assert_eq!(ids, ["pod:shop/web-0", "pod:shop/web-0/db"]);
        assert_eq!((&asks[0].indices, &asks[1].indices), (&vec![1], &vec![0]));
        assert_eq!(asks[0].terms.scope, Scope::Pod);
        assert_eq!(asks[1].terms.scope, Scope::Container("db".into()));
        let Place::At { spec, name, confirmed_by } = &asks[1].target else {
            panic!("{:?}", asks[1].target);
        };
        assert_eq!(spec.to_string(), format!("pod:0f-1/{}", id_of('b')));
        assert_eq!((name.as_str(), confirmed_by), ("shop/web-0/db", &vec![id_of('b')]));
    }

    #[test]
    fn a_halted_cluster_is_asked_for_nothing_and_guarded_faults_wait_for_their_guard() {
        let lever = Orders { lever: Some("INC-4711".into()), ..Orders::default() };
        let Desired::Over(why) = of(&Observed { orders: lever, ..pod("drop") }) else { panic!() };
        assert!(why.starts_with("the cluster is halted: INC-4711; "), "{why}");
        let orders = Orders { is_awaited: true, ..Orders::default() };
        let asks = asks(&Observed { orders, ..pod("drop; reset guarded in container db") });
        assert!(matches!(asks[0].target, Place::At { .. }));
        assert_eq!(asks[1].target, Place::Awaited(UNGUARDED.to_owned()));
    }

    #[test]
    fn a_container_that_does_not_run_is_awaited_and_one_that_is_not_there_refused() {
        let asks = asks(&pod("drop egress in container init"));
        assert_eq!(asks[0].target, Place::Awaited("container init does not run".into()));
        let refused = refusal(&pod("drop egress in container cache"));
        assert_eq!(refused, "the pod has no container `cache`; it has db, init, main");
    }

    #[test]
    fn pods_are_where_they_are_known_to_be() {
        let pod_ref =
            |name: &str| chaos_fault::PodRef { namespace: "payments".into(), name: name.into() };
        let addresses = ["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
        let facts = |text: &str| Observed {
            peers: BTreeMap::from([
                (pod_ref("db"), PodAddresses::At(addresses.into())),
                (pod_ref("new"), PodAddresses::At(Default::default())),
                (pod_ref("proxy"), PodAddresses::OnHostNetwork),
            ]),
            ..pod(text)
        };
        let asks = asks(&facts("drop to pod payments/db port 5432"));
        let fault = &asks[0].faults[0];
        let found: Vec<IpAddr> =
            fault.peer.iter().flat_map(|peer| peer.all_networks()).map(|net| net.addr()).collect();
        assert_eq!(found, addresses);
        assert_eq!(fault.to_string(), "drop to pod payments/db port 5432");
        for (name, reason) in [
            ("new", "pod payments/new has no address yet"),
            ("proxy", "pod payments/proxy has the addresses of its node, which others have, too; "),
            ("gone", "pod payments/gone is not on this node; write its address, such as "),
        ] {
            let refusal = refusal(&facts(&format!("drop from pod payments/{name}")));
            assert!(refusal.starts_with(reason), "{refusal}");
        }
    }

    #[test]
    fn the_nodes_addresses_are_exempt_but_for_pods_that_use_them() {
        assert_eq!(asks(&pod("drop egress"))[0].terms.exempt, [NODE]);
        let host = Observed { host_network: true, ..pod("drop egress") };
        assert_eq!(asks(&host)[0].terms.exempt, Vec::<IpAddr>::new());
    }

    #[test]
    fn what_the_operator_allows_and_exempts_stays_so_whatever_the_pod_is() {
        let operators: IpAddr = "192.0.2.9".parse().unwrap();
        let minutes = |number: u64| std::time::Duration::from_secs(60 * number);
        let policy = Policy::new(minutes(2), minutes(3)).unwrap().exempting(vec![operators]);
        for host_network in [false, true] {
            for is_mirror in [false, true] {
                for text in ["drop egress", "drop egress in container db", "drop to 192.0.2.7"] {
                    let facts = Observed { host_network, is_mirror, ..pod(text) };
                    let Desired::Faults(asked) = wanted(&facts, &policy, &[NODE]) else {
                        panic!("{facts:?}");
                    };
                    for Assignment { terms, .. } in asked.asks {
                        let of_policy = policy.terms(terms.seed, terms.scope.clone());
                        assert!(terms.exempt.starts_with(&of_policy.exempt), "{terms:?}");
                        let exempt = of_policy.exempt.clone();
                        let of_policy = Terms { has_guard: true, ..of_policy };
                        assert_eq!(Terms { exempt, ..terms }, of_policy);
                    }
                }
            }
        }
    }

    #[test]
    fn each_pod_has_a_seed_of_its_own_and_keeps_it() {
        let other = PodName { namespace: "shop".into(), name: "web-1".into() };
        let first = asks(&pod("drop 10%"))[0].terms.seed;
        assert_ne!(asks(&Observed { name: other, ..pod("drop 10%") })[0].terms.seed, first);
        let replaced = Observed { uid: "1f-2".into(), ..pod("drop 10%") };
        assert_eq!(asks(&replaced)[0].terms.seed, first);
    }

    #[test]
    fn a_static_pod_must_be_confirmed_by_a_container() {
        let mut mirror = Observed { is_mirror: true, ..pod("drop egress") };
        assert!(
            matches!(&asks(&mirror)[0].target, Place::At { confirmed_by, .. } if confirmed_by.len() == 2)
        );
        mirror.containers.values_mut().for_each(|id| *id = None);
        assert!(matches!(asks(&mirror)[0].target, Place::Awaited(_)));
    }
}
