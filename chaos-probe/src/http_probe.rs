//! Asks over HTTP.

use chaos_api::kinds::{HttpHeader, HttpMethod, HttpProbe};
use chaos_expression::Variables;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    account::Account,
    asker::{Asker, Asking},
    connection::{Patience, Trust},
    duration,
    exchange::{Request, Response, exchange},
    expectation::{Answer, Expectation},
    json,
    location::Location,
    secret::Secrets,
    session::Where,
    trouble::Trouble,
};

/// How much of a body is read where nothing is said, in bytes.
const BYTES: u32 = 65_536;

/// Headers that say how a request is sent, which is not the probe's to say.
const OWN_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The values of Secrets that were sent.
pub type Sent = Vec<String>;

/// Whether a header says how a request is sent.
pub fn is_own(name: &str) -> bool {
    OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Asks, and says what was sent that nobody may see.
pub async fn ask(
    asker: &Asker,
    asking: &Asking,
    http: &HttpProbe,
    sent: &mut Sent,
) -> Result<Response, Trouble> {
    let patience = Patience::of(duration::timeout(http.timeout.as_deref())?);
    let location = Location::of_url(&http.url).map_err(Trouble::Question)?;
    let mut headers = headers(asker, asking, &http.headers, patience, sent).await?;
    if patience.spent() > patience.left() {
        return Err(Trouble::Question(format!(
            "reading Secrets has taken more than half of the {:?} that the service has; give the probe a longer `timeout`",
            patience.whole()
        )));
    }
    let mut body = http.body.clone().unwrap_or_default().into_bytes();
    if !http.form.is_empty() {
        let mut form = form_urlencoded::Serializer::new(String::new());
        body = form.extend_pairs(&http.form).finish().into_bytes();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.entry(header::CONTENT_TYPE).or_insert(kind);
    }
    let jar = http.session.as_ref().map(|session| {
        let host = format!("{}:{}", location.host, location.port);
        (asking.run_uid.clone(), session.clone(), host)
    });
    let path = location.path_only().to_owned();
    let at = Where { path: &path, is_secure: location.is_secure };
    if let Some(jar) = &jar
        && let Some(cookies) = asker.sessions().header(jar, at, Timestamp::now())
        && let Ok(cookies) = HeaderValue::from_str(&cookies)
    {
        headers.insert(header::COOKIE, cookies);
    }
    let most = http.bytes.unwrap_or(BYTES).try_into().unwrap_or(usize::MAX);
    let request = Request { location, method: method(http.method), headers, body, most };
    let trust = Trust::Networks(asker.networks());
    let response = exchange(asker, request, trust, patience).await?;
    if let Some(jar) = &jar {
        let kept = asker.sessions().keep(jar, at, &response.headers, Timestamp::now());
        kept.map_err(Trouble::Question)?;
    }
    Ok(response)
}

async fn headers(
    asker: &Asker,
    asking: &Asking,
    written: &[HttpHeader],
    patience: Patience,
    sent: &mut Sent,
) -> Result<HeaderMap, Trouble> {
    let mut headers = HeaderMap::new();
    let mut secrets = Secrets::default();
    for one in written {
        let wrong = |why: &str| Trouble::Question(format!("header {}: {why}", one.name));
        let name = HeaderName::from_bytes(one.name.as_bytes())
            .map_err(|_| wrong("its name is no name of a header"))?;
        if is_own(name.as_str()) {
            return Err(wrong("it is written by the controller; leave it out"));
        }
        if name == header::HOST && headers.contains_key(header::HOST) {
            return Err(wrong("it is there more than once; write it once"));
        }
        let value = match (&one.value, &one.secret_key_ref) {
            (Some(value), None) => HeaderValue::from_str(value)
                .map_err(|_| wrong("its value has signs that no header can have"))?,
            (None, Some(of)) => {
                let account = Account::of(asker, asking)?;
                let read = secrets.read(&account, of, patience).await?;
                sent.extend(String::from_utf8(read.clone()).ok());
                let mut value = HeaderValue::from_bytes(&read).map_err(|_| {
                    wrong("the value of the Secret has signs that no header can have, such as a line feed at its end")
                })?;
                value.set_sensitive(true);
                value
            }
            (Some(_), Some(_)) | (None, None) => {
                return Err(wrong("it has exactly one of value and secretKeyRef"));
            }
        };
        headers.append(name, value);
    }
    Ok(headers)
}

fn method(method: Option<HttpMethod>) -> Method {
    match method {
        None | Some(HttpMethod::Get) => Method::GET,
        Some(HttpMethod::Head) => Method::HEAD,
        Some(HttpMethod::Post) => Method::POST,
        Some(HttpMethod::Put) => Method::PUT,
        Some(HttpMethod::Patch) => Method::PATCH,
        Some(HttpMethod::Delete) => Method::DELETE,
        Some(HttpMethod::Options) => Method::OPTIONS,
    }
}

/// What an expression has of an answer.
pub fn answer(response: &Response, expectation: &Expectation) -> Result<Answer, Trouble> {
    let Response { status, headers, body, latency, .. } = response;
    let mut variables =
        Variables::default().int("status", i64::from(*status)).duration("latency", *latency);
    let seen = format!("{status}, {}", duration::shown(*latency));
    let wrong = |why: String| Err(Trouble::Question(format!("{seen}: {why}")));
    if expectation.uses("headers") {
        let mut fields = serde_json::Map::new();
        for name in headers.keys() {
            let values = headers.get_all(name).iter();
            let values: Vec<_> =
                values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            fields.insert(name.to_string(), values.join(", ").into());
        }
        variables = variables.json("headers", &fields.into());
    }
    if expectation.uses("body") || expectation.uses("json") {
        let coding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
        if let Some(coding) = coding.filter(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
            let known = ["gzip", "deflate", "br", "zstd"];
            let known = known.into_iter().find(|name| coding.eq_ignore_ascii_case(name.as_bytes()));
            let coding = known.unwrap_or("in another way");
            return wrong(format!(
                "the body is compressed ({coding}), and is not unpacked; ask for one that is not"
            ));
        }
    }
    if expectation.uses("body") {
        match std::str::from_utf8(body) {
            Ok(body) => variables = variables.string("body", body),
            Err(_) => return wrong("the body is no text in UTF-8".to_owned()),
        }
    }
    if expectation.uses("json") {
        match json::read::<Value>(body) {
            Ok(json) => variables = variables.json("json", &json),
            Err(error) => return wrong(format!("the body is no JSON: {error}")),
        }
    }
    Ok(Answer { variables, value: Some(latency.as_secs_f64()), seen })
}
