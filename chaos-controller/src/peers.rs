//! Looks up what sentences call `@NAME`: the addresses of Services, of pods and of DNS names, and networks.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use chaos_api::kinds::Peer;
use chaos_fault::{Fault, Named, PortRange};
use ipnet::IpNet;
use k8s_openapi::api::{
    core::v1::{Service, ServicePort},
    discovery::v1::{EndpointPort, EndpointSlice},
};
use thiserror::Error;

use crate::{observed::Observed, pods::PodFacts};

/// Addresses that one name may stand for. They are written on every pod that is broken.
const MOST: usize = 512;

/// Why a name stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PeerError {
    #[error("`@{name}`: there is no Service {service} in namespace {namespace}")]
    NoService { name: String, service: String, namespace: String },
    #[error("`@{name}`: Service {service} is another name for {host}; name that in `dns` instead")]
    ExternalName { name: String, service: String, host: String },
    #[error("`@{name}`: {host} was not looked up yet")]
    Soon { name: String, host: String },
    #[error("`@{name}`: {host} cannot be looked up: {why}")]
    NotFound { name: String, host: String, why: String },
    #[error(
        "`@{name}`: it stands for no address; no pod has these labels, or no endpoint is ready"
    )]
    Nothing { name: String },
    #[error(
        "`@{name}`: it stands for {count} addresses, and at most {MOST} fit into an annotation; name networks in `cidr` instead"
    )]
    TooMany { name: String, count: usize },
}

impl PeerError {
    /// Whether it is known in a moment.
    pub fn is_soon(&self) -> bool {
        match self {
            Self::Soon { .. } => true,
            Self::NoService { .. }
            | Self::ExternalName { .. }
            | Self::NotFound { .. }
            | Self::Nothing { .. }
            | Self::TooMany { .. } => false,
        }
    }
}

/// Puts addresses in place of names. All of `faults` have only names that are in `peers`.
///
/// # Errors
/// When a name stands for nothing now.
pub fn put_in<'f>(
    faults: &'f [Fault],
    peers: &BTreeMap<String, Peer>,
    namespace: &str,
    observed: &Observed,
) -> Result<Cow<'f, [Fault]>, PeerError> {
    let names: BTreeSet<&str> = faults.iter().flat_map(Fault::names).collect();
    if names.is_empty() {
        return Ok(Cow::Borrowed(faults));
    }
    let mut known = BTreeMap::new();
    for name in names {
        if let Some(peer) = peers.get(name) {
            known.insert(name, stands_for(name, peer, namespace, observed)?);
        }
    }
    let mut faults = faults.to_vec();
    for fault in &mut faults {
        fault.replace_names(|name| known.get(name).cloned());
    }
    Ok(Cow::Owned(faults))
}

fn stands_for(name: &str, peer: &Peer, own: &str, observed: &Observed) -> Result<Named, PeerError> {
    let namespace = peer.namespace.as_deref().unwrap_or(own);
    let mut found = Named::default();
    let mut has_any_port = false;
    if let Some(service) = &peer.service {
        found = of_service(name, service, namespace, observed)?;
    }
    if let Some(labels) = &peer.pods {
        has_any_port = true;
        let pods = observed.pods_of(namespace);
        let meant = pods.filter(|pod| !pod.is_going && labels.matches(&pod.labels));
        found.networks.extend(meant.flat_map(addresses).map(IpNet::from));
    }
    for host in &peer.dns {
        has_any_port = true;
        let host = host.trim_end_matches('.');
        match observed.hosts.get(host) {
            Some(Ok(addresses)) => {
                // In packets there is no IPv6 address that stands for one of IPv4.
                found.networks.extend(addresses.iter().map(IpAddr::to_canonical).map(IpNet::from));
            }
            Some(Err(why)) => {
                let (name, host) = (name.to_owned(), host.to_owned());
                return Err(PeerError::NotFound { name, host, why: why.clone() });
            }
            None => {
                return Err(PeerError::Soon { name: name.to_owned(), host: host.to_owned() });
            }
        }
    }
    // What cannot be read was refused when the experiment was.
    let networks = peer.cidr.iter().filter_map(|text| network(text));
    has_any_port |= !peer.cidr.is_empty();
    found.networks.extend(networks);
    if has_any_port {
        found.ports.clear();
    }
    match found.networks.len() {
        0 => Err(PeerError::Nothing { name: name.to_owned() }),
        count if count > MOST => Err(PeerError::TooMany { name: name.to_owned(), count }),
        _ => Ok(found),
    }
}

/// An address or a network without host bits, as sentences have them.
pub fn network(text: &str) -> Option<IpNet> {
    let net =
        text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    (net == net.trunc()).then_some(net)
}

fn of_service(
    name: &str,
    service: &str,
    namespace: &str,
    observed: &Observed,
) -> Result<Named, PeerError> {
    let key = (namespace.to_owned(), service.to_owned());
    let spec = observed.services.get(&key).and_then(|found| found.spec.as_ref());
    let spec = spec.ok_or_else(|| PeerError::NoService {
        name: name.to_owned(),
        service: service.to_owned(),
        namespace: namespace.to_owned(),
    })?;
    if let Some(host) = &spec.external_name {
        return Err(PeerError::ExternalName {
            name: name.to_owned(),
            service: service.to_owned(),
            host: host.clone(),
        });
    }
    // Headless Services have `None` there.
    let own = spec.cluster_ips.iter().flatten().filter_map(|text| text.parse::<IpAddr>().ok());
    let mut found = Named { networks: own.map(IpNet::from).collect(), ..Named::default() };
    let listed = || spec.ports.iter().flatten();
    found.ports.extend(listed().filter_map(|port| single(port.port)));
    for slice in observed.slices.get(&key).into_iter().flatten() {
        let ready = slice.endpoints.iter().filter(|endpoint| {
            let conditions = endpoint.conditions.as_ref();
            conditions.and_then(|conditions| conditions.ready).unwrap_or(true)
        });
        let addresses = ready.flat_map(|endpoint| &endpoint.addresses);
        let addresses = addresses.filter_map(|text| text.parse::<IpAddr>().ok());
        found.networks.extend(addresses.map(IpNet::from));
        for target in slice.ports.iter().flatten() {
            let Some(range) = target.port.and_then(single) else { continue };
            found.ports.push(range);
            let behind = listed().filter(|port| is_same_port(port, target));
            let behind = behind.filter_map(|port| single(port.port));
            found.targets.extend(behind.map(|port| (port.first, range.first)));
        }
    }
    Ok(found)
}

/// Whether traffic to a port of a Service goes to this port of its endpoints. Ports have names where there are several.
fn is_same_port(port: &ServicePort, target: &EndpointPort) -> bool {
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    name(&port.name) == name(&target.name)
}

fn single(port: i32) -> Option<PortRange> {
    let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
    Some(PortRange { first: port, last: port })
}

fn addresses(pod: &PodFacts) -> impl Iterator<Item = IpAddr> {
    let status = pod.object.status.as_ref();
    let listed = status.into_iter().flat_map(|status| status.pod_ips.iter().flatten());
    listed.filter_map(|one| one.ip.parse().ok())
}

/// Keeps of a Service what a peer is looked up by.
pub fn slim_service(service: &mut Service) {
    service.metadata.managed_fields = None;
    service.metadata.annotations = None;
    service.status = None;
    for port in service.spec.iter_mut().flat_map(|spec| spec.ports.iter_mut().flatten()) {
        port.target_port = None;
    }
}

/// Keeps of a slice of endpoints what a peer is looked up by.
pub fn slim_slice(slice: &mut EndpointSlice) {
    slice.metadata.managed_fields = None;
    slice.metadata.annotations = None;
    for endpoint in &mut slice.endpoints {
        endpoint.target_ref = None;
        endpoint.hints = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    /// A cluster with Service `db` in namespace shop and pods that are called `web`.
    fn observed() -> Observed {
        let service: Service = serde_json::from_value(json!({ "spec": {
            "clusterIPs": ["10.96.0.12", "fd00::12"],
            "ports": [{ "name": "sql", "port": 5432 }, { "name": "admin", "port": 80 }],
        }}))
        .unwrap();
        let slice = |endpoints: Value| -> Arc<EndpointSlice> {
            let slice = json!({
                "addressType": "IPv4", "endpoints": endpoints,
                "ports": [{ "name": "sql", "port": 15432 }, { "name": "admin", "port": 8080 }],
            });
            Arc::new(serde_json::from_value(slice).unwrap())
        };
        let slices = vec![slice(json!([
            { "addresses": ["10.244.0.3"], "conditions": { "ready": true } },
            { "addresses": ["10.244.0.4"], "conditions": { "ready": false } },
            { "addresses": ["10.244.0.5"] },
        ]))];
        let pod = |name: &str, ips: Value| {
            let pod = json!({
                "metadata": { "namespace": "shop", "name": name, "uid": name, "labels": { "app": "web" } },
                "status": { "podIPs": ips },
            });
            Arc::new(PodFacts::of(&Arc::new(serde_json::from_value(pod).unwrap())))
        };
        let key = ("shop".to_owned(), "db".to_owned());
        let pods = vec![
            pod("web-0", json!([{ "ip": "10.244.1.1" }, { "ip": "fd00::1" }])),
            pod("web-1", json!([])),
        ];
        Observed {
            services: BTreeMap::from([(key.clone(), Arc::new(service))]),
            slices: BTreeMap::from([(key, slices)]),
            pods: BTreeMap::from([("shop".to_owned(), pods)]),
            hosts: BTreeMap::from([
                ("www.example".to_owned(), Ok(["192.0.2.7".parse().unwrap()].into())),
                ("nowhere.example".to_owned(), Err("no such name".to_owned())),
            ]),
            ..Observed::empty("2026-11-28T10:00:00Z".parse().unwrap())
        }
    }

    fn read(text: &str, peers: Value) -> Result<String, String> {
        let peers: BTreeMap<String, Peer> = serde_json::from_value(peers).unwrap();
        let faults = [text.parse().unwrap()];
        let found = put_in(&faults, &peers, "shop", &observed());
        found.map(|faults| faults[0].to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_become_addresses_with_the_ports_of_services() {
        let all = "10.96.0.12, 10.244.0.3, 10.244.0.5, fd00::12";
        for (text, peer, expected) in [
            (
                "drop to @x",
                json!({ "service": "db" }),
                format!("drop to {all} port 80, 5432, 8080, 15432"),
            ),
            // The port of the Service, and that of its endpoints.
            (
                "drop to @x port 5432",
                json!({ "service": "db" }),
                format!("drop to {all} port 5432, 15432"),
            ),
            ("drop to @x port 99", json!({ "service": "db" }), format!("drop to {all} port 99")),
            // Beside a network with any port no port is put in.
            (
                "drop to @x, 192.0.2.0/24",
                json!({ "service": "db" }),
                "drop to 10.96.0.12, 10.244.0.3, 10.244.0.5, 192.0.2.0/24, fd00::12".to_owned(),
            ),
            ("drop except @x", json!({ "service": "db" }), format!("drop except {all}")),
            (
                "drop from @x",
                json!({ "pods": { "matchLabels": { "app": "web" } } }),
                "drop from 10.244.1.1, fd00::1".to_owned(),
            ),
            (
                "delay 1s to @x",
                json!({ "dns": ["www.example."], "cidr": ["8.8.0.0/16"] }),
                "delay 1s to 8.8.0.0/16, 192.0.2.7".to_owned(),
            ),
        ] {
            assert_eq!(read(text, json!({ "x": peer })), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_name_that_stands_for_nothing_is_no_fault_for_everybody() {
        for (peer, expected) in [
            (json!({ "service": "cache" }), "there is no Service cache in namespace shop"),
            (json!({ "service": "db", "namespace": "infra" }), "in namespace infra"),
            (json!({ "pods": { "matchLabels": { "app": "none" } } }), "it stands for no address"),
            (json!({ "dns": ["nowhere.example"] }), "cannot be looked up: no such name"),
            (json!({ "dns": ["later.example"] }), "was not looked up yet"),
        ] {
            let refused = read("drop to @x", json!({ "x": peer })).unwrap_err();
            assert!(refused.starts_with("`@x`: ") && refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn networks_are_read_as_in_sentences() {
        for (text, is_one) in [
            ("10.0.0.0/8", true),
            ("10.0.0.1", true),
            ("::1", true),
            ("10.0.0.1/8", false),
            ("x", false),
        ] {
            assert_eq!(network(text).is_some(), is_one, "{text}");
        }
    }
}
