//! Asks Alertmanager which alerts fire.

use chaos_api::kinds::AlertmanagerProbe;
use chaos_expression::Variables;
use serde_json::Value;

use crate::{
    asker::Asker, connection::Patience, duration, exchange::Response, expectation::Answer, json,
    server::Server, trouble::Trouble,
};

/// Alerts that are named to people.
const MOST_NAMES: usize = 3;

/// Asks, where the probe or the controller's flag says.
pub async fn ask(asker: &Asker, alertmanager: &AlertmanagerProbe) -> Result<Response, Trouble> {
    let patience = Patience::of(duration::timeout(alertmanager.timeout.as_deref())?);
    let server = Server {
        name: "Alertmanager",
        own: alertmanager.url.as_deref(),
        by_flag: asker.alertmanager(),
        flag: "--alertmanager",
    };
    server.get(asker, ("/api/v2/alerts", &query(&alertmanager.matchers)), patience).await
}

fn query(matchers: &[String]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    // What is silenced, or inhibited, pages nobody.
    query
        .append_pair("active", "true")
        .append_pair("silenced", "false")
        .append_pair("inhibited", "false");
    query.extend_pairs(matchers.iter().map(|matcher| ("filter", matcher)));
    query.finish()
}

/// What an expression has of an answer.
pub fn answer(response: &Response) -> Result<Answer, String> {
    let Response { status, body, .. } = response;
    if *status != 200 {
        let said: Value = json::read(body).unwrap_or_default();
        let said = said.as_str().or_else(|| said["message"].as_str()).unwrap_or_default();
        return Err(format!("Alertmanager answers {status}: {said}"));
    }
    let alerts: Vec<Value> = json::read(body)
        .map_err(|error| format!("the answer is not one of Alertmanager: {error}"))?;
    let names: Vec<&str> =
        alerts.iter().filter_map(|alert| alert["labels"]["alertname"].as_str()).collect();
    let mut seen = match alerts.len() {
        1 => "1 alert".to_owned(),
        count => format!("{count} alerts"),
    };
    if !names.is_empty() {
        let named = names[..names.len().min(MOST_NAMES)].join(", ");
        let more = if names.len() > MOST_NAMES { ", …" } else { "" };
        seen = format!("{seen}: {named}{more}");
    }
    let value = Some(alerts.len() as f64);
    Ok(Answer { variables: Variables::default().json("items", &alerts.into()), value, seen })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::Room;

    fn ask(status: u16, body: &str) -> Result<(Option<f64>, String), String> {
        let body = body.as_bytes().to_vec();
        let response = Response {
            status,
            headers: http::HeaderMap::new(),
            body,
            latency: std::time::Duration::ZERO,
            _room: Room::default(),
        };
        answer(&response).map(|answer| (answer.value, answer.seen))
    }

    #[test]
    fn alerts_are_counted_and_named() {
        let alert = r#"{"labels":{"alertname":"HighErrors","severity":"page"},"status":{"state":"active"}}"#;
        assert_eq!(ask(200, "[]"), Ok((Some(0.0), "0 alerts".to_owned())));
        assert_eq!(
            ask(200, &format!("[{alert}]")),
            Ok((Some(1.0), "1 alert: HighErrors".to_owned()))
        );
        let many = format!("[{}]", [alert; 5].join(","));
        assert_eq!(ask(200, &many).unwrap().1, "5 alerts: HighErrors, HighErrors, HighErrors, …");
        assert!(ask(400, r#""bad matcher format: x""#).unwrap_err().contains("bad matcher format"));
        assert!(ask(200, "{}").unwrap_err().contains("not one of Alertmanager"));
    }
}
