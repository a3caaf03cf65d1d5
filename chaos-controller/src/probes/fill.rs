//! Puts the values of parameters into the texts of a probe.

use std::collections::BTreeMap;

use chaos_api::kinds::{
    AlertmanagerProbe, HttpHeader, HttpProbe, KubernetesProbe, Probe, PrometheusProbe, TcpProbe,
};

use crate::params::Filled;

type Params<'a> = BTreeMap<&'a str, &'a str>;

/// A probe with values in place of `$(NAME)`. The error is the name of a parameter that is not there.
pub fn fill(probe: &Probe, params: &Params<'_>) -> Result<Probe, String> {
    let text = |text: &String| Filled::of(text, params).map(|filled| filled.text);
    Ok(Probe {
        name: probe.name.clone(),
        http: probe.http.as_ref().map(|one| http(one, params)).transpose()?,
        tcp: probe.tcp.as_ref().map(|one| tcp(one, params)).transpose()?,
        prometheus: probe.prometheus.as_ref().map(|one| prometheus(one, params)).transpose()?,
        alertmanager: probe
            .alertmanager
            .as_ref()
            .map(|one| alertmanager(one, params))
            .transpose()?,
        kubernetes: probe.kubernetes.as_ref().map(|one| kubernetes(one, params)).transpose()?,
        ledger: probe.ledger.clone(),
        expect: probe.expect.as_ref().map(text).transpose()?,
        every: probe.every.clone(),
        tolerate: probe.tolerate,
        during: probe.during,
        recover: probe.recover.clone(),
    })
}

/// Whether a probe is asked with the rights of a service account.
pub fn needs_account(probe: &Probe) -> bool {
    let mut headers = probe.http.iter().flat_map(|http| &http.headers);
    probe.kubernetes.is_some() || headers.any(|header| header.secret_key_ref.is_some())
}

fn http(probe: &HttpProbe, params: &Params<'_>) -> Result<HttpProbe, String> {
    let text = |text: &String| Filled::of(text, params).map(|filled| filled.text);
    let header = |header: &HttpHeader| -> Result<HttpHeader, String> {
        let value = header.value.as_ref().map(text).transpose()?;
        Ok(HttpHeader { value, ..header.clone() })
    };
    let field = |(name, value): (&String, &String)| Ok((name.clone(), text(value)?));
    Ok(HttpProbe {
        url: text(&probe.url)?,
        headers: probe.headers.iter().map(header).collect::<Result<_, String>>()?,
        body: probe.body.as_ref().map(text).transpose()?,
        form: probe.form.iter().map(field).collect::<Result<_, String>>()?,
        ..probe.clone()
    })
}

fn tcp(probe: &TcpProbe, params: &Params<'_>) -> Result<TcpProbe, String> {
    let address = Filled::of(&probe.address, params)?.text;
    Ok(TcpProbe { address, ..probe.clone() })
}

fn prometheus(probe: &PrometheusProbe, params: &Params<'_>) -> Result<PrometheusProbe, String> {
    let text = |text: &String| Filled::of(text, params).map(|filled| filled.text);
    let (query, url) = (text(&probe.query)?, probe.url.as_ref().map(text).transpose()?);
    Ok(PrometheusProbe { query, url, ..probe.clone() })
}

fn alertmanager(
    probe: &AlertmanagerProbe,
    params: &Params<'_>,
) -> Result<AlertmanagerProbe, String> {
    let text = |text: &String| Filled::of(text, params).map(|filled| filled.text);
    let matchers = probe.matchers.iter().map(text).collect::<Result<_, String>>()?;
    let url = probe.url.as_ref().map(text).transpose()?;
    Ok(AlertmanagerProbe { url, matchers, ..probe.clone() })
}

fn kubernetes(probe: &KubernetesProbe, params: &Params<'_>) -> Result<KubernetesProbe, String> {
    let text = |text: &String| Filled::of(text, params).map(|filled| filled.text);
    let label = |(name, value): (&String, &String)| Ok((name.clone(), text(value)?));
    Ok(KubernetesProbe {
        name: probe.name.as_ref().map(text).transpose()?,
        labels: probe.labels.iter().map(label).collect::<Result<_, String>>()?,
        ..probe.clone()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_text_has_its_values() {
        let params = BTreeMap::from([("host", "web.shop"), ("most", "0.5")]);
        for (probe, expected) in [
            (
                json!({ "http": { "url": "http://$(host)/", "body": "to $(host)",
                                  "headers": [{ "name": "X", "value": "$(most)" }] },
                        "expect": "latency < duration('$(most)s')" }),
                json!({ "http": { "url": "http://web.shop/", "body": "to web.shop",
                                  "headers": [{ "name": "X", "value": "0.5" }] },
                        "expect": "latency < duration('0.5s')" }),
            ),
            (
                json!({ "http": { "url": "http://x", "form": { "user": "$(host)" } } }),
                json!({ "http": { "url": "http://x", "form": { "user": "web.shop" } } }),
            ),
            (
                json!({ "tcp": { "address": "$(host):80" } }),
                json!({ "tcp": { "address": "web.shop:80" } }),
            ),
            (
                json!({ "prometheus": { "query": "up{host='$(host)'}", "url": "http://$(host)" } }),
                json!({ "prometheus": { "query": "up{host='web.shop'}", "url": "http://web.shop" } }),
            ),
            (
                json!({ "alertmanager": { "matchers": ["host=$(host)"] } }),
                json!({ "alertmanager": { "matchers": ["host=web.shop"] } }),
            ),
            (
                json!({ "kubernetes": { "kind": "Pod", "labels": { "host": "$(host)" } } }),
                json!({ "kubernetes": { "kind": "Pod", "labels": { "host": "web.shop" } } }),
            ),
        ] {
            let read = |mut probe: serde_json::Value| -> Probe {
                probe["name"] = json!("it");
                serde_json::from_value(probe).unwrap()
            };
            assert_eq!(fill(&read(probe.clone()), &params), Ok(read(expected)), "{probe}");
            let unknown = fill(&read(probe), &BTreeMap::new()).unwrap_err();
            assert!(params.contains_key(unknown.as_str()), "{unknown}");
        }
    }
}
