//! Sends one request over HTTP/1.1, and reads the answer within bounds.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Body as _, Bytes},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::timeout,
};

use crate::{
    connection::{Patience, Trust, connect},
    location::Location,
    tls::Tls,
    trouble::Trouble,
};

/// In bytes, of all headers of an answer.
const MOST_HEADER_BYTES: usize = 32 << 10;

const MOST_HEADERS: usize = 100;

/// What is sent.
#[derive(Debug)]
pub struct Request {
    pub location: Location,
    pub method: Method,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// How many bytes of the answer's body are read.
    pub most: usize,
}

/// What has come back, to its end.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// From the first look at the name to the last byte.
    pub latency: Duration,
}

impl Request {
    /// A request without a body.
    pub fn get(location: Location, most: usize) -> Self {
        Self { location, method: Method::GET, headers: HeaderMap::new(), body: Vec::new(), most }
    }
}

/// Sends a request. Redirects are answers, and what is compressed stays so.
pub async fn exchange(
    request: Request,
    trust: Trust<'_>,
    tls: &Tls,
    patience: Patience,
) -> Result<Response, Trouble> {
    let Location { host, port, is_secure, .. } = &request.location;
    let stream = connect(host, *port, trust, patience).await?;
    if *is_secure {
        let stream = tls.begin(host, stream, patience).await?;
        over(stream, request, patience).await
    } else {
        over(stream, request, patience).await
    }
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request,
    patience: Patience,
) -> Result<Response, Trouble> {
    let answered = timeout(patience.left(), talk(stream, request, patience)).await;
    answered.unwrap_or(Err(Trouble::Timeout(patience.whole())))
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request,
    patience: Patience,
) -> Result<Response, Trouble> {
    let most = request.most;
    let address = request.location.authority.clone();
    let failed = |error: hyper::Error| Trouble::of_http(&address, &error);
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(MOST_HEADERS)
        .max_buf_size(MOST_HEADER_BYTES)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    // It ends with this function, however that ends.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let answer = sender.send_request(message(request)?).await.map_err(failed)?;
    let (parts, mut body) = answer.into_parts();
    let too_long = || Trouble::TooLong { most };
    if usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX) > most {
        return Err(too_long());
    }
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(failed)?;
        let Some(data) = frame.data_ref() else { continue };
        if read.len() + data.len() > most {
            return Err(too_long());
        }
        read.extend_from_slice(data);
    }
    let status = parts.status.as_u16();
    Ok(Response { status, headers: parts.headers, body: read, latency: patience.spent() })
}

fn message(request: Request) -> Result<hyper::Request<Full<Bytes>>, Trouble> {
    let Request { location, method, headers, body, .. } = request;
    let wrong = |error: &dyn std::fmt::Display| Trouble::Question(format!("the request: {error}"));
    let mut message = hyper::Request::new(Full::new(Bytes::from(body)));
    *message.method_mut() = method;
    *message.uri_mut() = location.path.parse().map_err(|error| wrong(&error))?;
    let host = HeaderValue::from_str(&location.authority).map_err(|error| wrong(&error))?;
    let defaults: [(HeaderName, HeaderValue); 4] = [
        (header::HOST, host),
        (
            header::USER_AGENT,
            HeaderValue::from_static(concat!("chaos-agent/", env!("CARGO_PKG_VERSION"))),
        ),
        (header::ACCEPT, HeaderValue::from_static("*/*")),
        (header::ACCEPT_ENCODING, HeaderValue::from_static("identity")),
    ];
    *message.headers_mut() = headers;
    for (name, value) in defaults {
        message.headers_mut().entry(name).or_insert(value);
    }
    message.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(message)
}
