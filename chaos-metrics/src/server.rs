//! Answers GET and HEAD over HTTP/1, within bounds: of connections, of their time, and of what they send.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

/// Bytes of the head of a request, the least that hyper takes.
const HEAD_SIZE: usize = 8 << 10;
/// How long to wait when no connection can be accepted, as when the process has no descriptor left.
const PAUSE: Duration = Duration::from_secs(1);

/// What a server bears. A connection is for one request, so that nobody keeps a place without asking for something.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at a time; others wait in the kernel's backlog.
    at_once: usize,
    /// How long the head of a request may take.
    head: Duration,
    /// How long a connection may last, whatever it does.
    longest: Duration,
}

impl Bounds {
    /// For pages that are long, and stay in memory until they have been read.
    pub const METRICS: Self =
        Self { at_once: 16, head: Duration::from_secs(5), longest: Duration::from_secs(10) };
    /// For lines that are answered at once, to a kubelet that ends the program when it finds no place.
    pub const HEALTH: Self =
        Self { at_once: 128, head: Duration::from_secs(1), longest: Duration::from_secs(2) };
}

/// An address cannot be listened on.
#[derive(Debug, Error)]
#[error(
    "cannot listen on {address} for `{option}`: {source}; give another address, or end what listens there"
)]
pub struct ListenError {
    option: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: Bytes,
}

impl Page {
    /// A line of text.
    pub fn line(status: StatusCode, line: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: format!("{line}\n").into() }
    }
}

/// Whatever has pages.
pub trait Pages: Send + Sync + 'static {
    /// The page at a path; `None` where there is none.
    fn page(&self, path: &str) -> impl Future<Output = Option<Page>> + Send;
}

/// A socket that listens.
pub struct Server {
    listener: TcpListener,
    bounds: Bounds,
}

impl Server {
    /// Begins to listen on an address, as `option` of the command line says.
    pub async fn bind(
        address: SocketAddr,
        option: &'static str,
        bounds: Bounds,
    ) -> Result<Self, ListenError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| ListenError { option, address, source })?;
        let bound = listener.local_addr().unwrap_or(address);
        tracing::info!(address = %bound, option, "listening");
        Ok(Self { listener, bounds })
    }

    /// Answers for as long as it is polled.
    pub async fn serve(self, pages: Arc<impl Pages>) -> Infallible {
        let Self { listener, bounds: Bounds { at_once, head, longest } } = self;
        let slots = Arc::new(Semaphore::new(at_once));
        let mut connections = JoinSet::new();
        loop {
            // Nobody closes it.
            let slot = slots.clone().acquire_owned().await;
            while connections.try_join_next().is_some() {}
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "no connection was accepted");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let pages = pages.clone();
            connections.spawn(async move {
                let _slot = slot;
                let answer = service_fn(move |request| answer(request, pages.clone()));
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(head)
                    .max_buf_size(HEAD_SIZE)
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), answer);
                match timeout(longest, connection).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "a connection has failed"),
                    Err(_) => tracing::debug!("a connection has lasted for too long"),
                }
            });
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    pages: Arc<impl Pages>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = respond(Page::line(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD"));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    let page = pages.page(request.uri().path()).await;
    Ok(respond(page.unwrap_or_else(|| Page::line(StatusCode::NOT_FOUND, "there is no such page"))))
}

fn respond(Page { status, content_type, body }: Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpStream,
    };

    use tokio::task::JoinHandle;

    use super::*;

    struct Hello;

    impl Pages for Hello {
        async fn page(&self, path: &str) -> Option<Page> {
            (path == "/hello").then(|| Page::line(StatusCode::OK, "hello"))
        }
    }

    /// Longer than a test that passes.
    const LONG: Duration = Duration::from_secs(60);
    const BOUNDS: Bounds = Bounds { at_once: 16, head: LONG, longest: LONG };

    const GET: &str = "GET /hello HTTP/1.1\r\nhost: a\r\n\r\n";

    async fn serve(bounds: Bounds) -> (SocketAddr, JoinHandle<Infallible>) {
        let any = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(any, "--metrics-address", bounds).await.unwrap();
        let address = server.listener.local_addr().unwrap();
        (address, tokio::spawn(server.serve(Arc::new(Hello))))
    }

    /// What the server answers to these bytes.
    async fn ask(address: SocketAddr, request: String) -> String {
        let asked = move || {
            let mut stream = TcpStream::connect(address).unwrap();
            // A server that has heard enough may close before all is sent.
            let _ = stream.write_all(request.as_bytes());
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        };
        tokio::task::spawn_blocking(asked).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn only_what_is_asked_for_by_get_and_head_is_answered() {
        let (address, serving) = serve(BOUNDS).await;
        let request =
            |line: &str| format!("{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let got = ask(address, request("GET /hello?x=y")).await;
        assert!(
            got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\nhello\n"),
            "{got}"
        );
        let head = ask(address, request("HEAD /hello")).await;
        assert!(head.contains("content-length: 6\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        let missing = ask(address, request("GET /secrets")).await;
        assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
        let posted = ask(address, request("POST /hello")).await;
        assert!(
            posted.starts_with("HTTP/1.1 405") && posted.contains("allow: GET, HEAD"),
            "{posted}"
        );
        assert!([got, head, missing, posted].iter().all(|one| one.contains("connection: close")));
        let large =
            format!("GET /hello HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(64 << 10));
        let refused = ask(address, large).await;
        assert!(!refused.contains("hello"), "{refused}");
        serving.abort();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn those_that_say_nothing_do_not_keep_others_out_for_good() {
        let head = Duration::from_millis(200);
        let (address, serving) = serve(Bounds { at_once: 2, head, ..BOUNDS }).await;
        let idle: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
        let got = ask(address, GET.to_owned()).await;
        assert!(got.starts_with("HTTP/1.1 200"), "{got}");
        drop(idle);
        serving.abort();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_kubelet_waits_for_none_of_a_hundred_that_say_nothing() {
        let (address, serving) = serve(Bounds { at_once: Bounds::HEALTH.at_once, ..BOUNDS }).await;
        let idle: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        let got = ask(address, GET.to_owned()).await;
        assert!(got.starts_with("HTTP/1.1 200"), "{got}");
        for mut stream in idle {
            stream.set_nonblocking(true).unwrap();
            let read = stream.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(read, Err(io::ErrorKind::WouldBlock), "it had to go first");
        }
        serving.abort();
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error =
            Server::bind(address, "--health-address", BOUNDS).await.err().unwrap().to_string();
        assert!(error.contains(&format!("{address} for `--health-address`")), "{error}");
    }
}
