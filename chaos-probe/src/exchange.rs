//! Sends one request over HTTP/1.1, and reads the answer within bounds.

use std::time::{Duration, Instant};

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
    asker::Asker,
    connection::{Patience, Trust, connect},
    location::Location,
    room::{Room, Rooms},
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
    /// Of the body.
    pub _room: Room,
}

impl Request {
    /// A request without a body.
    pub fn get(location: Location, most: usize) -> Self {
        Self { location, method: Method::GET, headers: HeaderMap::new(), body: Vec::new(), most }
    }
}

/// Sends a request. Redirects are answers, and what is compressed stays so.
pub async fn exchange(
    asker: &Asker,
    request: Request,
    trust: Trust<'_>,
    patience: Patience,
) -> Result<Response, Trouble> {
    let begun = Instant::now();
    let Location { host, port, is_secure, .. } = &request.location;
    let stream = connect(asker.resolver(), host, *port, trust, patience).await?;
    let mut response = if *is_secure {
        let stream = asker.tls()?.begin(host, stream, patience).await?;
        talk(asker.rooms(), stream, request, patience).await?
    } else {
        talk(asker.rooms(), stream, request, patience).await?
    };
    // What is left out is how long the answer has waited for room here.
    response.latency = begun.elapsed().saturating_sub(response.latency);
    Ok(response)
}

async fn within<T>(
    patience: Patience,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let done = timeout(patience.left(), work).await;
    done.unwrap_or(Err(Trouble::Timeout(patience.whole())))
}

/// Sends and reads. The latency is how long the answer has waited for room.
async fn talk(
    rooms: &Rooms,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request,
    patience: Patience,
) -> Result<Response, Trouble> {
    let most = request.most;
    let address = request.location.authority.clone();
    let failed = |error: hyper::Error| Trouble::of_http(&address, &error);
    let message = message(request)?;
    // It ends with this function, however that ends.
    let mut tasks = JoinSet::new();
    let answer = within(patience, async {
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(MOST_HEADERS)
            .max_buf_size(MOST_HEADER_BYTES)
            .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        tasks.spawn(connection);
        let answer = sender.send_request(message).await.map_err(failed)?;
        Ok((sender, answer))
    });
    // The connection may end once nobody can send any more.
    let (_sender, answer) = answer.await?;
    let (parts, mut body) = answer.into_parts();
    let too_long = || Trouble::TooLong { most };
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    if bytes(body.size_hint().lower()) > most {
        return Err(too_long());
    }
    // Who does not answer takes no room.
    let waiting = Instant::now();
    let room = rooms.take(body.size_hint().upper().map_or(most, bytes).min(most), patience).await?;
    let waited = waiting.elapsed();
    let body = within(patience, async {
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(failed)?;
            let Some(data) = frame.data_ref() else { continue };
            if read.len() + data.len() > most {
                return Err(too_long());
            }
            read.extend_from_slice(data);
        }
        Ok(read)
    });
    let body = body.await?;
    let (status, headers) = (parts.status.as_u16(), parts.headers);
    Ok(Response { status, headers, body, latency: waited, _room: room })
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
