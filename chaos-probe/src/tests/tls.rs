//! Servers of HTTPS, with certificates that are trusted and others.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::{ask, asker, expect, server::ok};
use crate::{Asker, Outcome, Settings, tls::Tls};

/// A server whose certificate nobody has signed but itself, and that certificate.
async fn secure() -> (tokio::task::JoinSet<()>, u16, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = cert.der().clone();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut read = [0; 4096];
            let _read = stream.read(&mut read).await;
            let _sent = stream.write_all(ok("", "safe").as_bytes()).await;
            let _sent = stream.shutdown().await;
        }
    });
    (task, port, certificate)
}

#[tokio::test]
async fn certificates_must_be_trusted() {
    let (_task, port, certificate) = secure().await;
    let question = json!({ "http": { "url": format!("https://localhost:{port}/") }, "expect": "body == 'safe'" });
    expect(&ask(&asker(), question.clone()).await, Outcome::Error, "is not trusted");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let networks = ["127.0.0.0/8", "::1/128"].iter().map(|text| text.parse().unwrap());
    let settings = Settings { networks: networks.collect(), ..Settings::default() };
    let trusting =
        Asker::with_tls(settings, None, Tls::of(roots).map_err(|error| error.to_string()));
    expect(&ask(&trusting, question).await, Outcome::Pass, "200");
    let by_address = json!({ "http": { "url": format!("https://127.0.0.1:{port}/") } });
    expect(&ask(&trusting, by_address).await, Outcome::Error, "is not trusted");
}

#[tokio::test]
async fn who_speaks_no_tls_is_an_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _sent = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            // Until the other end closes, so that it reads this.
            let _read = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    expect(
        &ask(&asker(), json!({ "http": { "url": url } })).await,
        Outcome::Error,
        "does it speak HTTPS?",
    );
}
