//! Calls an API of JSON whose URL the controller's command line says, within the same bounds as probes.

use std::{str::FromStr, time::Duration};

use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::Value;
use thiserror::Error;

use crate::{
    Settings,
    asker::Asker,
    connection::{Patience, Trust},
    exchange::{Request, exchange},
    json,
    location::Location,
    trouble::Trouble,
};

/// In bytes, of an answer.
const MOST: usize = 64 << 10;

/// The URL of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(Location);

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Location::of_url(text).map(Self)
    }
}

/// A server with an API of JSON. Its address is trusted; redirects are not followed.
pub struct JsonApi {
    /// Of its own: what waits here for room or for a name holds no probe up.
    asker: Asker,
    url: ServerUrl,
}

/// What is asked of the server.
#[derive(Debug, Clone, Copy)]
pub struct JsonCall<'c> {
    pub verb: JsonVerb<'c>,
    /// Below the URL.
    pub path: &'c str,
    pub query: &'c [(&'c str, &'c str)],
    /// It authorizes the call; it is in no error.
    pub token: Option<&'c str>,
    /// How long the whole call may take.
    pub timeout: Duration,
}

/// What is done there, with the body.
#[derive(Debug, Clone, Copy)]
pub enum JsonVerb<'c> {
    Get,
    Post(&'c Value),
    Patch(&'c Value),
}

/// What the server has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonReply {
    pub status: u16,
    /// Nothing where the body is no JSON.
    pub body: Option<Value>,
}

/// Why there is no answer. It has nothing of the answer, nor of the token.
#[derive(Debug, Error)]
pub enum JsonApiError {
    #[error("call {host}: {why}")]
    Unanswered { host: String, why: String },
    #[error("the token has signs that no header may have")]
    Token,
}

impl JsonApi {
    /// Reads the system's certificates once.
    pub fn new(url: ServerUrl) -> Self {
        Self { asker: Asker::new(Settings::default(), None), url }
    }

    /// Calls once. Every status of HTTP is an answer.
    pub async fn call(&self, call: JsonCall<'_>) -> Result<JsonReply, JsonApiError> {
        let ServerUrl(base) = &self.url;
        let request = request(base.clone(), call)?;
        let patience = Patience::of(call.timeout);
        let answered = exchange(&self.asker, request, Trust::Flag, patience).await;
        let failed = |trouble: Trouble| JsonApiError::Unanswered {
            host: base.authority.clone(),
            why: trouble.to_string(),
        };
        let response = answered.map_err(failed)?;
        Ok(JsonReply { status: response.status, body: json::read(&response.body).ok() })
    }
}

fn request(base: Location, call: JsonCall<'_>) -> Result<Request, JsonApiError> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(call.query);
    let mut request = Request::get(base.below(call.path, &query.finish()), MOST);
    let headers: &mut HeaderMap = &mut request.headers;
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(token) = call.token {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| JsonApiError::Token)?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    let (method, body) = match call.verb {
        JsonVerb::Get => return Ok(request),
        JsonVerb::Post(body) => (Method::POST, body),
        JsonVerb::Patch(body) => (Method::PATCH, body),
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Request { method, body: body.to_string().into_bytes(), ..request })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(verb: JsonVerb<'_>) -> JsonCall<'_> {
        JsonCall { verb, path: "/api/x", query: &[], token: None, timeout: Duration::from_secs(5) }
    }

    #[test]
    fn a_call_is_below_the_url_and_hides_its_token() {
        let base = Location::of_url("https://grafana.example/base/").unwrap();
        let query = [("tags", "run:a b"), ("tags", "x&y")];
        let whole = JsonCall { query: &query, token: Some("word"), ..call(JsonVerb::Get) };
        let got = request(base.clone(), whole).unwrap();
        assert_eq!(got.location.path, "/base/api/x?tags=run%3Aa+b&tags=x%26y");
        assert_eq!(
            (got.headers["authorization"].as_bytes(), got.body.len()),
            (&b"Bearer word"[..], 0)
        );
        assert!(!format!("{got:?}").contains("word"), "{got:?}");
        let broken = JsonCall { token: Some("a\nb"), ..call(JsonVerb::Get) };
        assert!(matches!(request(base.clone(), broken), Err(JsonApiError::Token)));

        let body = json!({ "a": 1 });
        let sent = request(base, call(JsonVerb::Patch(&body))).unwrap();
        assert_eq!((sent.method, sent.location.path.as_str()), (Method::PATCH, "/base/api/x"));
        assert_eq!(sent.body, br#"{"a":1}"#);
    }
}
