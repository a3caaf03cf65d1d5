//! A server that does what a test wants.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

type Done = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A server on the loopback interface. Dropping it ends it.
pub struct Server {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl Server {
    /// Hands each connection over once its request is read.
    pub async fn start(
        address: &str,
        serve: impl Fn(TcpStream, String) -> Done + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read_request(&mut stream).await;
                seen.lock().unwrap().push(request.clone());
                served.spawn(serve(stream, request));
            }
        });
        Self { address, requests, _task: task }
    }

    /// Gives the same answer always, and ends the connection.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start("127.0.0.1:0", move |mut stream, _| {
            let answer = Arc::clone(&answer);
            Box::pin(async move {
                let _sent = stream.write_all(&answer).await;
                let _sent = stream.shutdown().await;
            })
        })
        .await
    }

    /// Begins an answer and then writes this until nobody reads it any more.
    pub async fn flooding(head: &'static str, again: &'static [u8]) -> Self {
        Self::start("127.0.0.1:0", move |mut stream, _| {
            Box::pin(async move {
                let mut written = stream.write_all(head.as_bytes()).await;
                while written.is_ok() {
                    written = stream.write_all(again).await;
                }
            })
        })
        .await
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The requests that came.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// An answer whose body has the length that it says.
pub fn ok(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Reads the head of a request, and the body that it announces.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut part = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned)
            });
            if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut part).await {
            Ok(count) if count > 0 => read.extend_from_slice(&part[..count]),
            Ok(_) | Err(_) => return text,
        }
    }
}
