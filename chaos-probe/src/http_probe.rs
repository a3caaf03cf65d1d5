//! Asks over HTTP.

use chaos_api::kinds::{HttpHeader, HttpMethod, HttpProbe};
use chaos_expression::Variables;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;

use crate::{
    account::Account,
    asker::{Asker, Asking},
    connection::{Patience, Trust},
    duration,
    exchange::{Request, Response, exchange},
    expectation::{Answer, Expectation},
    location::Location,
    secret,
    session::Where,
    trouble::Trouble,
};

/// How much of a body is read where nothing is said, in bytes.
const BYTES: u32 = 65_536;

/// The values of Secrets that were sent.
pub type Sent = Vec<String>;

/// Asks, and says what was sent that nobody may see.
pub async fn ask(
    asker: &Asker,
    asking: &Asking,
    http: &HttpProbe,
    expectation: &Expectation,
    sent: &mut Sent,
) -> Result<Answer, Trouble> {
    let location = Location::of_url(&http.url).map_err(Trouble::Question)?;
    let mut headers = headers(asker, asking, &http.headers, sent).await?;
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
    let patience = Patience::of(duration::timeout(http.timeout.as_deref())?);
    let trust = Trust::Networks(asker.networks());
    let response = exchange(request, trust, asker.tls()?, patience).await?;
    if let Some(jar) = &jar {
        asker.sessions().keep(jar, at, &response.headers, Timestamp::now());
    }
    answer(&response, expectation)
}

async fn headers(
    asker: &Asker,
    asking: &Asking,
    written: &[HttpHeader],
    sent: &mut Sent,
) -> Result<HeaderMap, Trouble> {
    let mut headers = HeaderMap::new();
    for one in written {
        let wrong = |why: &str| Trouble::Question(format!("header {}: {why}", one.name));
        let name = HeaderName::from_bytes(one.name.as_bytes())
            .map_err(|_| wrong("its name is no name of a header"))?;
        let value = match (&one.value, &one.secret_key_ref) {
            (Some(value), None) => HeaderValue::from_str(value)
                .map_err(|_| wrong("its value has signs that no header can have"))?,
            (None, Some(of)) => {
                let account = Account::of(asker.client(), asking)?;
                let read = secret::read(&account, &asking.namespace, of).await?;
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
fn answer(response: &Response, expectation: &Expectation) -> Result<Answer, Trouble> {
    let Response { status, headers, body, latency } = response;
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
            let coding = String::from_utf8_lossy(coding);
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
        match serde_json::from_slice(body) {
            Ok(json) => variables = variables.json("json", &json),
            Err(error) => return wrong(format!("the body is no JSON: {error}")),
        }
    }
    Ok(Answer { variables, value: Some(latency.as_secs_f64()), seen })
}
