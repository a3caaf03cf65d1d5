//! Asks Prometheus an instant query.

use std::collections::BTreeMap;

use chaos_api::kinds::PrometheusProbe;
use chaos_expression::Variables;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    asker::Asker,
    connection::Patience,
    duration,
    exchange::Response,
    expectation::{Answer, Expectation},
    json,
    server::Server,
    trouble::Trouble,
};

/// Asks, where the probe or the controller's flag says.
pub async fn ask(asker: &Asker, prometheus: &PrometheusProbe) -> Result<Response, Trouble> {
    let patience = Patience::of(duration::timeout(prometheus.timeout.as_deref())?);
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("query", &prometheus.query)
        .append_pair("timeout", &format!("{}ms", patience.whole().as_millis()))
        .finish();
    let server = Server {
        name: "Prometheus",
        own: prometheus.url.as_deref(),
        by_flag: asker.prometheus(),
        flag: "--prometheus",
    };
    server.get(asker, ("/api/v1/query", &query), patience).await
}

/// An answer of the API, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    status: String,
    data: Option<Data>,
    error_type: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: Option<Point>,
}

/// A time, and a number that is written as a text.
type Point = (serde::de::IgnoredAny, String);

/// What an expression has of an answer.
pub fn answer(response: &Response, expectation: &Expectation) -> Result<Answer, String> {
    let Response { status, body, .. } = response;
    let reply: Reply = match json::read(body) {
        Ok(reply) => reply,
        Err(_) if *status != 200 => return Err(format!("Prometheus answers {status}")),
        Err(error) => return Err(format!("the answer is not one of Prometheus: {error}")),
    };
    if reply.status != "success" || *status != 200 {
        let kind = reply.error_type.unwrap_or_else(|| status.to_string());
        return Err(format!(
            "Prometheus refuses the query: {kind}: {}",
            reply.error.unwrap_or_default()
        ));
    }
    let Data { result_type, result } = reply.data.ok_or("the answer has no data")?;
    // The error of what cannot be read would have parts of it.
    let failed = |_| "the answer is not one of Prometheus".to_owned();
    let series: Vec<Series> = match result_type.as_str() {
        "vector" => serde_json::from_value(result).map_err(failed)?,
        "scalar" => {
            let point: Point = serde_json::from_value(result).map_err(failed)?;
            vec![Series { metric: BTreeMap::new(), value: Some(point) }]
        }
        "matrix" => return Err("the query gives a range; leave `[…]` at its end out".to_owned()),
        "string" => return Err("the query gives a text, and no number".to_owned()),
        _ => return Err("the answer is not one of Prometheus".to_owned()),
    };
    judged(series, expectation)
}

fn judged(series: Vec<Series>, expectation: &Expectation) -> Result<Answer, String> {
    let mut numbers = Vec::new();
    for one in &series {
        let point = one.value.as_ref().ok_or("the query gives histograms, and no numbers")?;
        let (_, text) = point;
        // Rust reads what Go writes, `+Inf` and `NaN` included.
        let number: f64 = text.parse().map_err(|_| "a value is no number")?;
        if number.is_nan() {
            let hint = "a rate without any events, divided by itself, gives this";
            return Err(format!("the number is NaN; {hint}"));
        }
        numbers.push(number);
    }
    let (value, seen) = match numbers.as_slice() {
        [] => return Err("the query gives no data; check its names and labels".to_owned()),
        [one] => (Some(*one), shown(*one)),
        several if expectation.uses("value") => {
            let remedy = "write `sum(…)` or `max(…)` around it, or expect something of `items`";
            return Err(format!(
                "the query gives {} series, and `value` is one; {remedy}",
                several.len()
            ));
        }
        several => (None, format!("{} series", several.len())),
    };
    let mut variables = Variables::default();
    if expectation.uses("items") {
        if numbers.iter().any(|number| number.is_infinite()) {
            return Err("a number is infinite; something is divided by 0".to_owned());
        }
        let items = series.iter().zip(&numbers);
        let items: Vec<Value> = items
            .map(|(one, number)| serde_json::json!({ "labels": one.metric, "value": number }))
            .collect();
        variables = variables.json("items", &items.into());
    }
    Ok(Answer { variables, value, seen })
}

/// A number with as many digits as people look at.
pub fn shown(number: f64) -> String {
    if number == number.trunc() && number.abs() < 1e15 {
        return format!("{number}");
    }
    let size = number.abs().log10();
    if (-4.0..15.0).contains(&size) {
        let digits = (3 - size.floor() as i32).clamp(0, 8);
        let text = format!("{number:.*}", usize::try_from(digits).unwrap_or(0));
        if text.contains('.') {
            return text.trim_end_matches('0').trim_end_matches('.').to_owned();
        }
        return text;
    }
    format!("{number:.3e}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::room::Room;

    #[test]
    fn numbers_are_short() {
        for (number, expected) in [
            (0.0, "0"),
            (0.031, "0.031"),
            (0.031_234_567, "0.03123"),
            (1234.567, "1235"),
            (12.0, "12"),
            (99.123_456, "99.12"),
            (1e-9, "1.000e-9"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(shown(number), expected);
        }
    }

    fn ask(status: u16, body: &str, expect: &str) -> Result<Option<f64>, String> {
        let probe = json!({ "name": "p", "prometheus": { "query": "up" }, "expect": expect });
        let probe = serde_json::from_value(probe).unwrap();
        let question = crate::question::Question::of(&probe).unwrap();
        let expectation = Expectation::of(&probe, question).unwrap();
        let body = body.as_bytes().to_vec();
        let response = Response {
            status,
            headers: http::HeaderMap::new(),
            body,
            latency: std::time::Duration::ZERO,
            _room: Room::default(),
        };
        answer(&response, &expectation).map(|answer| answer.value)
    }

    fn vector(values: &[&str]) -> String {
        let result: Vec<Value> = values
            .iter()
            .map(|value| json!({ "metric": { "job": "web" }, "value": [1.5, value] }))
            .collect();
        json!({ "status": "success", "data": { "resultType": "vector", "result": result } })
            .to_string()
    }

    #[test]
    fn one_number_is_an_answer_and_nothing_else_is() {
        assert_eq!(ask(200, &vector(&["0.5"]), "value < 1"), Ok(Some(0.5)));
        let scalar =
            r#"{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"1"]}}"#;
        assert_eq!(ask(200, scalar, "value == 1"), Ok(Some(1.0)));
        assert_eq!(ask(200, &vector(&["+Inf"]), "value < 1"), Ok(Some(f64::INFINITY)));
        assert_eq!(ask(200, &vector(&["1", "2"]), "items.all(i, i.value > 0)"), Ok(None));
        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[]}]}}"#;
        let refused = r#"{"status":"error","errorType":"bad_data","error":"1:3: parse error: no expression"}"#;
        for (status, body, expect, expected) in [
            (200, vector(&[]), "value < 1", "gives no data"),
            (200, vector(&[]), "size(items) == 0", "gives no data"),
            (200, vector(&["NaN"]), "value < 1", "is NaN"),
            (200, vector(&["1", "NaN"]), "items.all(i, i.value > 0)", "is NaN"),
            (200, vector(&["1", "2"]), "value < 1", "gives 2 series"),
            (200, vector(&["many"]), "value < 1", "is no number"),
            (200, matrix.to_owned(), "value < 1", "gives a range"),
            (400, refused.to_owned(), "value < 1", "bad_data: 1:3: parse error"),
            (503, "Service Unavailable".to_owned(), "value < 1", "answers 503"),
            (302, String::new(), "value < 1", "answers 302"),
            (200, "<html>".to_owned(), "value < 1", "not one of Prometheus"),
            (200, r#"{"status":"success"}"#.to_owned(), "value < 1", "has no data"),
        ] {
            let error = ask(status, &body, expect).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
