//! Servers of HTTP that hang, flood, redirect, break off, and lie.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use super::{
    ask, asker, asking, expect, probe,
    server::{Server, ok},
};
use crate::{Asker, Outcome, Settings};

/// Short, where the server never answers.
fn http(server: &Server, expected: &str) -> Value {
    json!({ "http": { "url": server.url(), "timeout": "500ms" }, "expect": expected })
}

/// Long, where it does.
fn patient(server: &Server, expected: &str) -> Value {
    json!({ "http": { "url": server.url(), "timeout": "30s" }, "expect": expected })
}

#[tokio::test]
async fn an_answer_is_judged_by_what_is_expected() {
    let server = Server::answering(ok("X-Served-By: web-0\r\n", r#"{"up": 3}"#)).await;
    for (expected, outcome) in [
        ("status == 200", Outcome::Pass),
        ("status == 302", Outcome::Fail),
        ("latency < duration('30s') && value < 30", Outcome::Pass),
        ("value == baseline", Outcome::Pass),
        ("json.up >= 3", Outcome::Pass),
        ("json.up > 3", Outcome::Fail),
        ("body.contains('up')", Outcome::Pass),
        ("headers['x-served-by'] == 'web-0'", Outcome::Pass),
        ("json.down == 0", Outcome::Error),
        ("headers['x-missing'] == ''", Outcome::Error),
        ("nothing == 0", Outcome::Error),
    ] {
        let sample = ask(&asker(), patient(&server, expected)).await;
        assert_eq!(sample.outcome, outcome, "{expected}: {}", sample.seen);
    }
    let sample = ask(&asker(), json!({ "http": { "url": server.url() } })).await;
    expect(&sample, Outcome::Pass, "200, ");
    assert!(sample.value.is_some());
    let baseline =
        asker().ask(&asking(), &probe(patient(&server, "value > baseline")), Some(1e9)).await;
    expect(&baseline, Outcome::Fail, "200, ");
}

#[tokio::test]
async fn who_does_not_answer_is_broken() {
    let hanging = Server::start("127.0.0.1:0", |stream, _| {
        Box::pin(async move {
            let _held = stream;
            std::future::pending::<()>().await;
        })
    })
    .await;
    expect(
        &ask(&asker(), http(&hanging, "status == 200")).await,
        Outcome::Fail,
        "timeout after 500ms",
    );

    let trickling = Server::start("127.0.0.1:0", |mut stream, _| {
        Box::pin(async move {
            for byte in ok("", &"x".repeat(10_000)).bytes() {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    })
    .await;
    expect(
        &ask(&asker(), http(&trickling, "status == 200")).await,
        Outcome::Fail,
        "timeout after 500ms",
    );

    let resetting = Server::start("127.0.0.1:0", |mut stream, _| {
        Box::pin(async move {
            let _sent =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc").await;
            let _set = stream.set_zero_linger();
        })
    })
    .await;
    let sample = ask(&asker(), patient(&resetting, "status == 200")).await;
    expect(&sample, Outcome::Fail, "break");

    for part in
        ["", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc", "HTTP/1.1 200 OK\r\nContent-Le"]
    {
        let closing = Server::answering(part).await;
        expect(
            &ask(&asker(), patient(&closing, "status == 200")).await,
            Outcome::Fail,
            "breaks off",
        );
    }

    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = json!({ "http": { "url": format!("http://{gone}/") } });
    expect(&ask(&asker(), refused).await, Outcome::Fail, "refuses the connection");
}

#[tokio::test]
async fn who_answers_too_much_is_not_read() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
    ] {
        let server = Server::flooding(head, &[b'x'; 65_536]).await;
        let sample = ask(&asker(), patient(&server, "status == 200")).await;
        expect(&sample, Outcome::Error, "longer than 65536 bytes");
    }
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let server = Server::flooding(chunked, b"4\r\nxxxx\r\n").await;
    expect(&ask(&asker(), patient(&server, "status == 200")).await, Outcome::Error, "longer than");
    // A chunk that never ends: its length, and nothing else.
    let server =
        Server::flooding("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0").await;
    let sample = ask(&asker(), http(&server, "status == 200")).await;
    assert_ne!(sample.outcome, Outcome::Pass, "{sample:?}");
    let head = "HTTP/1.1 200 OK\r\n";
    let server = Server::flooding(head, b"X-Header: this is one of very many\r\n").await;
    expect(
        &ask(&asker(), patient(&server, "status == 200")).await,
        Outcome::Error,
        "too many headers",
    );
    let large = format!("X-Large: {}\r\n", "x".repeat(65_536));
    let server = Server::answering(ok(&large, "")).await;
    expect(
        &ask(&asker(), patient(&server, "status == 200")).await,
        Outcome::Error,
        "too many headers",
    );
    let server = Server::answering(ok("", &"x".repeat(101))).await;
    let short = json!({ "http": { "url": server.url(), "bytes": 100 } });
    expect(&ask(&asker(), short).await, Outcome::Error, "longer than 100 bytes");
    let exact = json!({ "http": { "url": server.url(), "bytes": 101 } });
    expect(&ask(&asker(), exact).await, Outcome::Pass, "200");
}

#[tokio::test]
async fn redirects_are_answers() {
    let other = Server::answering(ok("", "")).await;
    let head =
        format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", other.url());
    let server = Server::answering(head).await;
    expect(&ask(&asker(), patient(&server, "status == 302")).await, Outcome::Pass, "302");
    expect(&ask(&asker(), patient(&server, "status == 200")).await, Outcome::Fail, "302");
    assert_eq!((server.requests().len(), other.requests().len()), (2, 0));
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error() {
    let gzip = Server::answering(ok("Content-Encoding: gzip\r\n", "\u{1f}\u{8b}")).await;
    expect(&ask(&asker(), patient(&gzip, "body == ''")).await, Outcome::Error, "compressed (gzip)");
    expect(&ask(&asker(), patient(&gzip, "json.up")).await, Outcome::Error, "compressed (gzip)");
    expect(&ask(&asker(), patient(&gzip, "status == 200")).await, Outcome::Pass, "200");
    let html = Server::answering(ok("", "<html>")).await;
    expect(&ask(&asker(), patient(&html, "json.up")).await, Outcome::Error, "no JSON");
    let deep = Server::answering(ok("", &"[".repeat(40_000))).await;
    expect(&ask(&asker(), patient(&deep, "json.up")).await, Outcome::Error, "no JSON");
    let wide = Server::answering(ok("", &format!("[{}[]]", "[],".repeat(30_000)))).await;
    let wide =
        json!({ "http": { "url": wide.url(), "bytes": 100_000 }, "expect": "size(json) > 1" });
    expect(&ask(&asker(), wide).await, Outcome::Error, "more than 50000 values");
    let told = Server::answering(ok("", r#"{"word": "swordfish"}"#)).await;
    for expected in ["int(json.word) == 1", "duration(body) > latency", "{'a': 1}[json.word] == 1"]
    {
        let sample = ask(&asker(), patient(&told, expected)).await;
        assert!(sample.outcome == Outcome::Error && !sample.seen.contains("fish"), "{sample:?}");
    }
    let bytes =
        Server::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe".to_vec()).await;
    expect(&ask(&asker(), patient(&bytes, "body == ''")).await, Outcome::Error, "no text");
    let ssh = Server::answering("SSH-2.0-OpenSSH_9.2\r\n").await;
    expect(&ask(&asker(), patient(&ssh, "status == 200")).await, Outcome::Error, "is no HTTP");
    let old = Server::answering("HTTP/1.0 200 OK\r\n\r\nhello").await;
    expect(&ask(&asker(), patient(&old, "body == 'hello'")).await, Outcome::Pass, "200");
}

#[tokio::test]
async fn addresses_are_checked_after_names_are_resolved() {
    let server = Server::answering(ok("", "")).await;
    let private = Asker::new(Settings::default(), None);
    let named = format!("http://localhost:{}/", server.address.port());
    for url in [
        server.url(),
        named.clone(),
        format!("http://[::ffff:127.0.0.1]:{}/", server.address.port()),
    ] {
        let sample = ask(&private, json!({ "http": { "url": url } })).await;
        expect(&sample, Outcome::Error, "probes may not connect to");
    }
    assert_eq!(server.requests().len(), 0);
    expect(&ask(&asker(), json!({ "http": { "url": named } })).await, Outcome::Pass, "200");

    let everything =
        ["0.0.0.0/0", "::/0", "169.254.0.0/16"].iter().map(|text| text.parse().unwrap());
    let everything =
        Asker::new(Settings { networks: everything.collect(), ..Settings::default() }, None);
    for host in ["169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1]", "0xa9fea9fe"] {
        let sample = ask(
            &everything,
            json!({ "http": { "url": format!("http://{host}/latest/meta-data") } }),
        )
        .await;
        expect(&sample, Outcome::Error, "probes may not connect to");
        let sample = ask(&everything, json!({ "tcp": { "address": format!("{host}:80") } })).await;
        expect(&sample, Outcome::Error, "probes may not connect to");
    }
    let nowhere = json!({ "http": { "url": "http://nowhere.invalid/", "timeout": "30s" } });
    expect(&ask(&asker(), nowhere).await, Outcome::Error, "cannot be resolved");
}

#[tokio::test]
async fn ipv6_is_asked_as_well() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    drop(listener);
    let server = Server::start("[::1]:0", |mut stream, _| {
        Box::pin(async move {
            let _sent = stream.write_all(ok("", "").as_bytes()).await;
        })
    })
    .await;
    expect(&ask(&asker(), patient(&server, "status == 200")).await, Outcome::Pass, "200");
}

#[tokio::test]
async fn requests_are_sent_as_they_are_written() {
    let server = Server::answering(ok("", "")).await;
    let form = json!({ "http": { "url": format!("{}login?x=1", server.url()), "method": "POST",
        "headers": [{ "name": "X-Team", "value": "shop" }, { "name": "Host", "value": "web.example" }],
        "form": { "passwd": "a&b=c", "username": "jason" } } });
    expect(&ask(&asker(), form).await, Outcome::Pass, "200");
    let body = json!({ "http": { "url": server.url(), "method": "PUT", "body": "{}" } });
    expect(&ask(&asker(), body).await, Outcome::Pass, "200");
    let head = json!({ "http": { "url": server.url(), "method": "HEAD" } });
    expect(&ask(&asker(), head).await, Outcome::Pass, "200");
    let requests = server.requests();
    let first = requests[0].to_lowercase();
    for part in [
        "post /login?x=1 http/1.1\r\n",
        "x-team: shop\r\n",
        "host: web.example\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "accept-encoding: identity\r\n",
        "\r\n\r\npasswd=a%26b%3dc&username=jason",
    ] {
        assert!(first.contains(part), "{part}: {first}");
    }
    assert!(
        requests[1].starts_with("PUT / ") && requests[1].ends_with("\r\n\r\n{}"),
        "{requests:?}"
    );
    assert!(requests[2].starts_with("HEAD / "), "{requests:?}");
    for (names, expected) in [
        (["Host", "host"], "header host: it is there more than once"),
        (["Transfer-Encoding", "A"], "written by the controller"),
        (["A", "Proxy-Connection"], "written by the controller"),
    ] {
        let headers = names.map(|name| json!({ "name": name, "value": "a" }));
        let question = json!({ "http": { "url": server.url(), "headers": headers } });
        expect(&ask(&asker(), question).await, Outcome::Error, expected);
    }
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn sessions_send_the_cookies_that_they_were_given() {
    let server = Server::start("127.0.0.1:0", |mut stream, request| {
        Box::pin(async move {
            let answer = if request.starts_with("POST /login") {
                ok("Set-Cookie: id=jason; Path=/; HttpOnly\r\n", "")
            } else if request.to_lowercase().contains("cookie: id=jason\r\n") {
                ok("", "")
            } else {
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned()
            };
            let _sent = stream.write_all(answer.as_bytes()).await;
        })
    })
    .await;
    let asker = asker();
    let page =
        |session: Option<&str>| json!({ "http": { "url": server.url(), "session": session } });
    let login = json!({ "http": { "url": format!("{}login", server.url()), "method": "POST", "session": "jason" } });
    expect(&ask(&asker, page(Some("jason"))).await, Outcome::Fail, "401");
    expect(&ask(&asker, login).await, Outcome::Pass, "200");
    expect(&ask(&asker, page(Some("jason"))).await, Outcome::Pass, "200");
    expect(&ask(&asker, page(Some("other"))).await, Outcome::Fail, "401");
    expect(&ask(&asker, page(None)).await, Outcome::Fail, "401");
    let mut other = asking();
    other.run_uid = "2".to_owned();
    let sample = asker.ask(&other, &probe(page(Some("jason"))), None).await;
    expect(&sample, Outcome::Fail, "401");
    asker.forget("1");
    expect(&ask(&asker, page(Some("jason"))).await, Outcome::Fail, "401");
}

#[tokio::test]
async fn a_secret_without_a_cluster_is_an_error() {
    let server = Server::answering(ok("", "")).await;
    let header =
        json!({ "name": "Authorization", "secretKeyRef": { "name": "shop", "key": "token" } });
    let sample =
        ask(&asker(), json!({ "http": { "url": server.url(), "headers": [header] } })).await;
    expect(&sample, Outcome::Error, "there is no API server");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_secret_is_read_once_a_question() {
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "shop" },
        "data": { "token": "c3dvcmRmaXNo" } });
    let headers = "Content-Type: application/json\r\nConnection: close\r\n";
    let api = Server::answering(ok(headers, &secret.to_string())).await;
    let client = kube::Client::try_from(kube::Config::new(api.url().parse().unwrap())).unwrap();
    let networks = ["127.0.0.0/8".parse().unwrap()].into_iter().collect();
    let asker = Asker::new(Settings { networks, ..Settings::default() }, Some(client));
    let server = Server::answering(ok("", "")).await;
    let header =
        |name: &str| json!({ "name": name, "secretKeyRef": { "name": "shop", "key": "token" } });
    let headers = [header("X-First"), header("X-Second")];
    let sample = ask(&asker, json!({ "http": { "url": server.url(), "headers": headers } })).await;
    expect(&sample, Outcome::Pass, "200, ");
    let sent = server.requests().remove(0).to_lowercase();
    assert!(sent.contains("x-first: swordfish\r\n") && sent.contains("x-second: swordfish\r\n"));
    assert_eq!(api.requests().len(), 1);
}

#[tokio::test]
async fn a_service_that_floods_with_cookies_is_an_error() {
    let cookies: String = (0..33).map(|number| format!("Set-Cookie: c{number}=1\r\n")).collect();
    let server = Server::answering(ok(&cookies, "")).await;
    let question = json!({ "http": { "url": server.url(), "session": "jason" } });
    expect(&ask(&asker(), question).await, Outcome::Error, "more than 32 cookies");
}
