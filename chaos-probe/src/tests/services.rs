//! Connections, and servers that speak as Prometheus and Alertmanager do.

use serde_json::json;
use tokio::net::TcpListener;

use super::{
    ask, asker, expect,
    server::{Server, ok},
};
use crate::{Asker, Outcome, Settings};

#[tokio::test]
async fn a_connection_is_made_or_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tcp = |expected: Option<&str>| json!({ "tcp": { "address": address }, "expect": expected });
    expect(&ask(&asker(), tcp(None)).await, Outcome::Pass, "connected, ");
    expect(
        &ask(&asker(), tcp(Some("latency < duration('5s')"))).await,
        Outcome::Pass,
        "connected, ",
    );
    expect(&ask(&asker(), tcp(Some("!connected"))).await, Outcome::Fail, "connected, ");
    drop(listener);
    expect(&ask(&asker(), tcp(None)).await, Outcome::Fail, "refuses the connection");
    expect(&ask(&asker(), tcp(Some("latency < duration('5s')"))).await, Outcome::Fail, "refuses");
    expect(&ask(&asker(), tcp(Some("!connected"))).await, Outcome::Pass, "refuses the connection");
    let private = Asker::new(Settings::default(), None);
    expect(&ask(&private, tcp(None)).await, Outcome::Error, "probes may not connect to");
    expect(
        &ask(&asker(), json!({ "tcp": { "address": "nowhere.invalid:1", "timeout": "30s" } }))
            .await,
        Outcome::Error,
        "cannot be resolved",
    );
}

const ONE: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1764409200.1,"0.031"]}]}}"#;

#[tokio::test]
async fn prometheus_is_asked_where_the_flag_says_and_what_it_lacks_is_an_error() {
    let server = Server::answering(ok("Content-Type: application/json\r\n", ONE)).await;
    // By the flag, on an address that no probe may name.
    let base = format!("{}prom/", server.url());
    let settings = Settings { prometheus: Some(base), ..Settings::default() };
    let flagged = Asker::new(settings, None);
    let query = json!({ "query": "sum(rate(x{code=~\"5..\"}[1m]))" });
    let prometheus = |expected: &str| json!({ "prometheus": query, "expect": expected });
    let sample = ask(&flagged, prometheus("value < 0.05")).await;
    expect(&sample, Outcome::Pass, "0.031");
    assert_eq!(sample.value, Some(0.031));
    expect(&ask(&flagged, prometheus("value < 0.01")).await, Outcome::Fail, "0.031");
    let request = server.requests().remove(0);
    let asked = "GET /prom/api/v1/query?query=sum%28rate%28x%7Bcode%3D%7E%225..%22%7D%5B1m%5D%29%29&timeout=5000ms ";
    assert!(request.starts_with(asked), "{request}");

    let named =
        json!({ "prometheus": { "query": "up", "url": server.url() }, "expect": "value < 1" });
    expect(&ask(&flagged, named.clone()).await, Outcome::Error, "probes may not connect to");
    expect(&ask(&asker(), named).await, Outcome::Pass, "0.031");
    expect(&ask(&asker(), prometheus("value < 1")).await, Outcome::Error, "`--prometheus`");

    let nothing = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    for (answer, expected) in [
        (ok("", nothing), "gives no data"),
        (ok("", "<html>"), "not one of Prometheus"),
        (ok("", &ONE.replace("0.031", "+Inf")), "the number is infinite"),
        (
            ok("", &ONE.replace("[1764409200.1,\"0.031\"]", "\"swordfish\"")),
            "not one of Prometheus",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "answers 302",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{".to_owned(), "breaks off"),
    ] {
        let server = Server::answering(answer).await;
        let settings = Settings { prometheus: Some(server.url()), ..Settings::default() };
        let sample = ask(&Asker::new(settings, None), prometheus("value < 1")).await;
        expect(&sample, Outcome::Error, expected);
        assert!(!sample.seen.contains("swordfish"), "{sample:?}");
    }
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let settings = Settings { prometheus: Some(format!("http://{gone}")), ..Settings::default() };
    let sample = ask(&Asker::new(settings, None), prometheus("value < 1")).await;
    expect(&sample, Outcome::Error, "refuses the connection");
}

#[tokio::test]
async fn alerts_that_fire_fail() {
    let alerts = r#"[{"labels":{"alertname":"HighErrors","severity":"page"}}]"#;
    let server = Server::answering(ok("", alerts)).await;
    let settings = Settings { alertmanager: Some(server.url()), ..Settings::default() };
    let flagged = Asker::new(settings, None);
    let question =
        json!({ "alertmanager": { "matchers": ["severity=\"page\"", "team=~\"shop.*\""] } });
    expect(&ask(&flagged, question).await, Outcome::Fail, "1 alert: HighErrors");
    let request = server.requests().remove(0);
    let asked = "GET /api/v2/alerts?active=true&silenced=false&inhibited=false&filter=severity%3D%22page%22&filter=team";
    assert!(request.starts_with(asked), "{request}");
    let expected = "items.all(a, a.labels.severity != 'critical')";
    let question = json!({ "alertmanager": {}, "expect": expected });
    expect(&ask(&flagged, question).await, Outcome::Pass, "1 alert");
    let quiet = Server::answering(ok("", "[]")).await;
    let question = json!({ "alertmanager": { "url": quiet.url() } });
    expect(&ask(&asker(), question).await, Outcome::Pass, "0 alerts");
}

#[tokio::test]
async fn objects_without_a_cluster_are_errors() {
    let question = json!({ "kubernetes": { "kind": "Pod" } });
    expect(&ask(&asker(), question).await, Outcome::Error, "there is no API server");
    let question = json!({ "ledger": {}, "expect": "injected > 0" });
    expect(&ask(&asker(), question).await, Outcome::Error, "judged at the end");
    expect(&ask(&asker(), json!({})).await, Outcome::Error, "exactly one of");
}
