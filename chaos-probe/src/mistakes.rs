//! Finds what is wrong with a probe, as far as the API server cannot tell.

use std::time::Duration;

use chaos_api::kinds::{HttpHeader, HttpProbe, KubernetesProbe, Probe};
use chaos_expression::{Expression, Variables};
use http::{HeaderName, HeaderValue};

use crate::{
    account::checked,
    duration,
    http_probe::is_own,
    location::{Location, host_and_port},
    question::Question,
    resource::{Resource, checked_version},
};

/// Everything that is wrong with a probe whose parameters are filled in. Each says the field, and what would be right.
pub fn mistakes(probe: &Probe) -> Vec<String> {
    let Some(question) = Question::of(probe) else {
        return vec![
            "a probe must have exactly one of http, tcp, prometheus, alertmanager, kubernetes and ledger"
                .to_owned(),
        ];
    };
    let mut found = Vec::new();
    match question {
        Question::Http(http) => found.extend(of_http(http)),
        Question::Tcp(tcp) => {
            found
                .extend(host_and_port(&tcp.address).err().map(|why| format!("tcp.address: {why}")));
        }
        Question::Prometheus(prometheus) => {
            if prometheus.query.trim().is_empty() {
                found.push(
                    "prometheus.query: it is empty; write a query that gives one number".to_owned(),
                );
            }
            found.extend(of_url("prometheus.url", prometheus.url.as_deref()));
        }
        Question::Alertmanager(alertmanager) => {
            found.extend(of_url("alertmanager.url", alertmanager.url.as_deref()));
            let wrong = alertmanager.matchers.iter().filter(|matcher| !is_matcher(matcher));
            found.extend(wrong.map(|matcher| {
                format!(
                    "alertmanager.matchers: `{matcher}` is no matcher, such as `severity=\"page\"`"
                )
            }));
        }
        Question::Kubernetes(kubernetes) => found.extend(of_kubernetes(kubernetes)),
        Question::Ledger => {}
    }
    if let Err(trouble) = duration::timeout(question.timeout()) {
        found.push(trouble.to_string());
    }
    let second = Duration::from_secs(1);
    found.extend(of_duration("every", probe.every.as_deref(), second, 600 * second));
    found.extend(of_duration(
        "recover",
        probe.recover.as_deref(),
        Duration::from_nanos(1),
        3600 * second,
    ));
    found.extend(of_expectation(probe, question));
    found
}

fn of_expectation(probe: &Probe, question: Question<'_>) -> Option<String> {
    let Some(text) = probe.expect.as_deref() else {
        let has_default =
            matches!(question, Question::Kubernetes(_)) || question.default_expectation().is_some();
        return (!has_default).then(|| {
            "expect: it is missing; say what must hold, such as `value < 0.05`".to_owned()
        });
    };
    let expression = match Expression::compile(text, question.variables()) {
        Ok(expression) => expression,
        Err(error) => return Some(format!("expect: {error}")),
    };
    // What is in these is not known before an answer is there.
    if ["json", "items", "headers", "body"].iter().any(|name| expression.uses(name)) {
        return None;
    }
    let mut variables = Variables::default()
        .int("status", 200)
        .duration("latency", Duration::from_millis(100))
        .bool("connected", true)
        .double("value", 1.0)
        .double("baseline", 1.0);
    for count in ["matched", "injected", "shadowed", "spared", "lost"] {
        variables = variables.int(count, 1);
    }
    // Types that do not go together do not for any answer.
    let error = expression.holds(&variables).err().filter(|error| !error.is_missing())?;
    Some(format!("expect: {error}"))
}

fn of_http(http: &HttpProbe) -> Vec<String> {
    let mut found = Vec::from_iter(of_url("http.url", Some(&http.url)));
    if http.body.is_some() && !http.form.is_empty() {
        found.push("http: it has body and form; a request has one of them".to_owned());
    }
    let is_host = |header: &&HttpHeader| header.name.eq_ignore_ascii_case("host");
    if http.headers.iter().filter(is_host).count() > 1 {
        found.push("http.headers: Host is there more than once; write it once".to_owned());
    }
    for header in &http.headers {
        let name = &header.name;
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            found.push(format!("http.headers: `{name}` is no name of a header"));
        }
        if is_own(name) {
            found.push(format!("http.headers: {name} is written by the controller; leave it out"));
        }
        if header.value.is_some() == header.secret_key_ref.is_some() {
            found.push(format!("http.headers: {name} has exactly one of value and secretKeyRef"));
        }
        if header.value.as_deref().is_some_and(|value| HeaderValue::from_str(value).is_err()) {
            found.push(format!(
                "http.headers: the value of {name} has signs that no header can have"
            ));
        }
        if let Some(of) = &header.secret_key_ref {
            found.extend(
                checked("http.headers: secretKeyRef", &of.name).err().map(|why| why.to_string()),
            );
        }
        if http.session.is_some() && name.eq_ignore_ascii_case("cookie") {
            found.push(
                "http.headers: Cookie is written by the session; leave one of them out".to_owned(),
            );
        }
    }
    found
}

fn of_kubernetes(kubernetes: &KubernetesProbe) -> Vec<String> {
    let mut found = Vec::new();
    let kind = &kubernetes.kind;
    if kind == "Secret" {
        found.push("kubernetes.kind: Secrets are not probed; probe what needs them".to_owned());
    } else if Resource::known(kubernetes).is_none() {
        match kubernetes.api_version.as_deref() {
            Some(version) => {
                found.extend(checked_version(version).err().map(|why| format!("kubernetes.{why}")));
            }
            None => found.push(format!(
                "kubernetes.kind: `{kind}` is no kind of Kubernetes itself; write its `apiVersion`"
            )),
        }
    }
    if let Some(name) = &kubernetes.name {
        found.extend(checked("kubernetes.name", name).err().map(|why| why.to_string()));
        if !kubernetes.labels.is_empty() {
            found.push(
                "kubernetes: it has name and labels; objects are named or selected".to_owned(),
            );
        }
    }
    for (name, value) in &kubernetes.labels {
        let is_plain = |text: &str| {
            text.chars().all(|sign| sign.is_ascii_alphanumeric() || "-_./".contains(sign))
        };
        if name.is_empty() || !is_plain(name) || !is_plain(value) || value.contains('/') {
            found.push(format!("kubernetes.labels: `{name}: {value}` is no label"));
        }
    }
    found
}

fn of_url(field: &str, url: Option<&str>) -> Option<String> {
    Location::of_url(url?).err().map(|why| format!("{field}: {why}"))
}

fn of_duration(field: &str, text: Option<&str>, least: Duration, most: Duration) -> Option<String> {
    let text = text?;
    match chaos_fault::parse_duration(text) {
        Ok(read) if (least..=most).contains(&read) => None,
        Ok(_) => Some(format!("{field}: {text} is not {} to {}", spoken(least), spoken(most))),
        Err(mistake) => Some(format!("{field}: {}", mistake.message)),
    }
}

fn spoken(duration: Duration) -> String {
    chaos_fault::print_duration(duration)
}

/// `name=value` with one of four signs, the value in quotes or not.
fn is_matcher(text: &str) -> bool {
    let Some(end) = text.find(['=', '!']) else { return false };
    let (name, rest) = text.split_at(end);
    let name = name.trim().trim_matches('"');
    let has_sign = ["=~", "!=", "!~", "="].iter().any(|sign| rest.starts_with(sign));
    !name.is_empty() && has_sign && !name.contains(['{', '}', ','])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(mut probe: Value) -> Vec<String> {
        probe["name"] = json!("p");
        mistakes(&serde_json::from_value(probe).unwrap())
    }

    #[test]
    fn what_is_right_has_no_mistakes() {
        let header =
            json!({ "name": "Authorization", "secretKeyRef": { "name": "shop", "key": "token" } });
        for probe in [
            json!({ "http": { "url": "http://web.shop/cart" } }),
            json!({ "http": { "url": "https://web.shop", "headers": [header], "timeout": "1s" },
                    "expect": "status == 200 && latency < duration('800ms')", "every": "5s", "recover": "1m" }),
            json!({ "http": { "url": "http://web/login", "method": "POST", "form": { "a": "b" }, "session": "jason" },
                    "expect": "status in [200, 302]" }),
            json!({ "http": { "url": "http://web" }, "expect": "json.backends.filter(b, b.up).size() >= 3" }),
            json!({ "http": { "url": "http://web" }, "expect": "value < baseline * 2.0" }),
            json!({ "tcp": { "address": "db.shop:5432" } }),
            json!({ "tcp": { "address": "[fd00::1]:5432" }, "expect": "!connected" }),
            json!({ "prometheus": { "query": "up" }, "expect": "value <= math.greatest(0.01, baseline * 2.0)" }),
            json!({ "alertmanager": { "matchers": ["severity=\"page\"", "job=~\"web.*\"", "a!=b", "team!~x"] } }),
            json!({ "kubernetes": { "kind": "Deployment", "name": "web" } }),
            json!({ "kubernetes": { "kind": "Rollout", "apiVersion": "argoproj.io/v1alpha1", "labels": { "app.kubernetes.io/name": "web" } } }),
            json!({ "ledger": {}, "expect": "injected >= 100 && lost == 0" }),
        ] {
            assert_eq!(of(probe.clone()), Vec::<String>::new(), "{probe}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_field() {
        let http = |field: &str, value: Value| {
            let mut http = json!({ "url": "http://web" });
            http[field] = value;
            json!({ "http": http })
        };
        for (probe, expected) in [
            (json!({}), "exactly one of"),
            (json!({ "tcp": { "address": "a:1" }, "ledger": {} }), "exactly one of"),
            (json!({ "http": { "url": "web.shop" } }), "http.url: `web.shop` has no `http://`"),
            (json!({ "http": { "url": "ftp://web.shop" } }), "`ftp` is not asked"),
            (json!({ "http": { "url": "http://a:b@web" } }), "no user and no password"),
            (http("timeout", json!("31s")), "timeout: 31s is more than 30s"),
            (
                http("headers", json!([{ "name": "Content-Length", "value": "1" }])),
                "written by the controller",
            ),
            (
                http("headers", json!([{ "name": "Proxy-Connection", "value": "close" }])),
                "written by the controller",
            ),
            (
                http(
                    "headers",
                    json!([{ "name": "Host", "value": "a" }, { "name": "host", "value": "b" }]),
                ),
                "Host is there more than once",
            ),
            (
                http("headers", json!([{ "name": "A", "value": "a\nb" }])),
                "the value of A has signs",
            ),
            (http("headers", json!([{ "name": "A" }])), "exactly one of value and secretKeyRef"),
            (
                http(
                    "headers",
                    json!([{ "name": "A", "secretKeyRef": { "name": "../x", "key": "k" } }]),
                ),
                "is no name of an object",
            ),
            (
                json!({ "http": { "url": "http://web" }, "expect": "value <" }),
                "expect: it cannot be read",
            ),
            (
                json!({ "http": { "url": "http://web" }, "expect": "items.size() > 0" }),
                "`items` is not known; there are `status`",
            ),
            (
                json!({ "http": { "url": "http://web" }, "expect": "latency < 1" }),
                "does not go with duration and int",
            ),
            (
                json!({ "http": { "url": "http://web" }, "expect": "status" }),
                "must give true or false",
            ),
            (json!({ "tcp": { "address": "db" } }), "tcp.address: `db` is no `HOST:PORT`"),
            (
                json!({ "prometheus": { "query": " " }, "expect": "value < 1" }),
                "prometheus.query: it is empty",
            ),
            (
                json!({ "prometheus": { "query": "up", "url": "prometheus" }, "expect": "value < 1" }),
                "prometheus.url: ",
            ),
            (json!({ "prometheus": { "query": "up" } }), "expect: it is missing"),
            (json!({ "ledger": {} }), "expect: it is missing"),
            (
                json!({ "ledger": {}, "expect": "injected >= 1.5 * matched" }),
                "does not go with double and int",
            ),
            (json!({ "alertmanager": { "matchers": ["page"] } }), "`page` is no matcher"),
            (json!({ "kubernetes": { "kind": "Rollout" } }), "write its `apiVersion`"),
            (
                json!({ "kubernetes": { "kind": "Rollout", "apiVersion": "a/b/c" } }),
                "kubernetes.apiVersion: `a/b/c`",
            ),
            (json!({ "kubernetes": { "kind": "Secret" } }), "Secrets are not probed"),
            (json!({ "kubernetes": { "kind": "Pod", "name": "Web" } }), "kubernetes.name: `Web`"),
            (json!({ "kubernetes": { "kind": "Pod", "labels": { "a": "b,c=d" } } }), "is no label"),
            (
                json!({ "tcp": { "address": "a:1" }, "every": "500ms" }),
                "every: 500ms is not 1s to 10m",
            ),
            (json!({ "tcp": { "address": "a:1" }, "recover": "2h" }), "recover: 2h is not"),
        ] {
            let found = of(probe.clone());
            assert!(found.iter().any(|mistake| mistake.contains(expected)), "{probe}: {found:?}");
        }
    }
}
