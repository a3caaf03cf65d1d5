//! Reads probes as they are typed: `http://frontend/cart expect status < 500`. Pure.

use chaos_api::kinds::During;
use serde_json::{Value, json};
use thiserror::Error;

/// Why there is no probe.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ProbeError {
    #[error(
        "--probe: `{0}` is no question; write such as 'http://frontend/cart expect status < 500', 'tcp://db:5432' or 'prometheus sum(rate(errors[1m])) expect value < 0.01'"
    )]
    Question(String),
    #[error("--probe: behind `expect` there is nothing; write such as `expect status < 500`")]
    NoExpectation,
    #[error(
        "--probe: a query has no answer that is right by itself; write such as `expect value < 0.01` behind it"
    )]
    Query,
    #[error("--probe: `{0}` has no port; write such as 'tcp://db:5432'")]
    NoPort(String),
}

/// What stands between a question and the expression that its answer must fulfil.
const EXPECT: &str = "expect";

/// The probes of an experiment. A host without a dot is a Service of the namespace.
pub fn read(texts: &[String], during: During, namespace: &str) -> Result<Vec<Value>, ProbeError> {
    let mut probes: Vec<Value> = Vec::new();
    for text in texts {
        let (base, mut probe) = one(text, namespace)?;
        let is_taken = |name: &str| probes.iter().any(|probe| probe["name"] == name);
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let name = std::iter::once(base.clone()).chain(numbered).find(|name| !is_taken(name));
        probe["name"] = json!(name);
        probe["during"] = json!(during);
        probes.push(probe);
    }
    Ok(probes)
}

/// A probe, and what it could be called.
fn one(text: &str, namespace: &str) -> Result<(String, Value), ProbeError> {
    let (question, expect) = parts(text)?;
    let unknown = || ProbeError::Question(question.to_owned());
    let is_word = !question.contains(char::is_whitespace);
    let (host, mut probe) = if let Some(query) = question.strip_prefix("prometheus ") {
        if expect.is_none() {
            return Err(ProbeError::Query);
        }
        ("prometheus".to_owned(), json!({ "prometheus": { "query": query.trim() } }))
    } else if let Some((scheme @ ("http" | "https"), rest)) = question.split_once("://")
        && is_word
    {
        let (host, rest) = located(rest, namespace).ok_or_else(unknown)?;
        (host, json!({ "http": { "url": format!("{scheme}://{rest}") } }))
    } else if let Some(rest) = question.strip_prefix("tcp://")
        && is_word
    {
        let (host, address) = located(rest, namespace).ok_or_else(unknown)?;
        let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            return Err(ProbeError::NoPort(question.to_owned()));
        }
        (host, json!({ "tcp": { "address": address } }))
    } else {
        return Err(unknown());
    };
    if let Some(expect) = expect {
        probe["expect"] = json!(expect);
    }
    Ok((name(&host), probe))
}

/// The question, and the expression behind it.
fn parts(text: &str) -> Result<(&str, Option<&str>), ProbeError> {
    let text = text.trim();
    let is_between = |at: &usize| {
        let (before, behind) = (&text[..*at], &text[at + EXPECT.len()..]);
        before.ends_with(char::is_whitespace)
            && (behind.is_empty() || behind.starts_with(char::is_whitespace))
    };
    let at = text.match_indices(EXPECT).map(|(at, _)| at).find(is_between);
    let Some(at) = at else { return Ok((text, None)) };
    match text[at + EXPECT.len()..].trim() {
        "" => Err(ProbeError::NoExpectation),
        expression => Ok((text[..at].trim(), Some(expression))),
    }
}

/// The host of an address, and the address with the namespace behind a host that has none.
fn located(address: &str, namespace: &str) -> Option<(String, String)> {
    let end = address.find(['/', '?', '#']).unwrap_or(address.len());
    let (authority, rest) = address.split_at(end);
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    if host.is_empty() {
        return None;
    }
    let is_service = host.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !is_service || host == "localhost" {
        return Some((host.to_owned(), address.to_owned()));
    }
    let behind = &authority[host.len()..];
    Some((host.to_owned(), format!("{host}.{namespace}{behind}{rest}")))
}

/// What a probe of a host is called.
fn name(host: &str) -> String {
    let first = host.split('.').next().unwrap_or_default();
    let letters = first.to_ascii_lowercase();
    let letters: String =
        letters.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(30).collect();
    match letters.trim_matches('-') {
        // A part of an address is no name.
        number if number.chars().all(|c| c.is_ascii_digit()) => "probe".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &[&str]) -> Result<Vec<Value>, ProbeError> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        read(&texts, During::Halt, "shop")
    }

    #[test]
    fn questions_and_expectations_are_read() {
        assert_eq!(
            all(&[
                "http://frontend/cart expect status < 500",
                "https://frontend:8443/expect?x=1",
                "tcp://db:5432",
                "tcp://[::1]:80",
                "http://shop.example/health",
                "prometheus sum(rate(errors[1m])) expect value < 0.01",
            ])
            .unwrap(),
            [
                json!({ "name": "frontend", "during": "Halt", "http": { "url": "http://frontend.shop/cart" }, "expect": "status < 500" }),
                json!({ "name": "frontend-2", "during": "Halt", "http": { "url": "https://frontend.shop:8443/expect?x=1" } }),
                json!({ "name": "db", "during": "Halt", "tcp": { "address": "db.shop:5432" } }),
                json!({ "name": "probe", "during": "Halt", "tcp": { "address": "[::1]:80" } }),
                json!({ "name": "shop", "during": "Halt", "http": { "url": "http://shop.example/health" } }),
                json!({ "name": "prometheus", "during": "Halt",
                    "prometheus": { "query": "sum(rate(errors[1m]))" }, "expect": "value < 0.01" }),
            ]
        );
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (text, expected) in [
            ("frontend/cart", "is no question; write such as 'http://frontend/cart"),
            ("http://", "is no question"),
            ("http://a b", "is no question"),
            ("http://frontend expect", "behind `expect` there is nothing"),
            ("tcp://db", "has no port"),
            ("tcp://db:0", "has no port"),
            ("prometheus up", "write such as `expect value < 0.01` behind it"),
        ] {
            let error = all(&[text]).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
