//! A server with as much of Grafana's API of annotations as it takes, well or not.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// It answers this, and does nothing.
    Answer(u16),
    /// It does nothing, and answers never.
    Hang,
    /// It does what it is asked for, and does not say so.
    HangAfter,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// The path with its query.
    pub target: String,
    /// As it was sent; empty without one.
    pub token: String,
    body: Value,
}

/// A server on the loopback interface. Dropping it ends it.
pub struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _task: JoinSet<()>,
}

struct State {
    mood: Mood,
    requests: Vec<Request>,
    annotations: Vec<Value>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { mood: Mood::Well, requests: Vec::new(), annotations: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                served.spawn(serve(stream, shared.clone()));
            }
        });
        Self { address, state, _task: task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/grafana/", self.address)
    }

    pub fn set(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    pub fn annotations(&self) -> Vec<Value> {
        self.state.lock().unwrap().annotations.clone()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let Some(request) = read(&mut stream).await else { return };
    let (mood, answer) = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        let mood = state.mood;
        let answer = match mood {
            Mood::Well | Mood::HangAfter => state.answer(&request),
            // As from somebody who repeats what he was sent.
            Mood::Answer(status) => (status, json!({ "message": request.token })),
            Mood::Hang => (500, Value::Null),
        };
        (mood, answer)
    };
    let answers = match mood {
        Mood::Well | Mood::Answer(_) => true,
        Mood::HangAfter => request.method == "GET",
        Mood::Hang => false,
    };
    if !answers {
        std::future::pending::<()>().await;
    }
    let (status, body) = (answer.0, answer.1.to_string());
    let head = format!(
        "HTTP/1.1 {status} It\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _sent = stream.write_all((head + &body).as_bytes()).await;
    let _sent = stream.shutdown().await;
}

impl State {
    fn answer(&mut self, request: &Request) -> (u16, Value) {
        let Some(rest) = request.target.strip_prefix("/grafana/api/annotations") else {
            return (404, json!({ "message": "Not found" }));
        };
        match request.method.as_str() {
            "GET" => {
                let wanted: Vec<String> = rest
                    .trim_start_matches('?')
                    .split('&')
                    .filter_map(|pair| pair.strip_prefix("tags="))
                    .map(|tag| tag.replace("%3A", ":"))
                    .collect();
                let has = |one: &Value, tag: &String| {
                    one["tags"].as_array().is_some_and(|tags| tags.contains(&json!(tag)))
                };
                let found =
                    self.annotations.iter().filter(|one| wanted.iter().all(|tag| has(one, tag)));
                let shown = |one: &Value| {
                    let mut one = one.clone();
                    if one["timeEnd"].is_null() {
                        one["timeEnd"] = one["time"].clone();
                    }
                    one
                };
                (200, found.take(1).map(shown).collect())
            }
            "POST" => {
                let mut one = request.body.clone();
                let id = self.annotations.len() + 1;
                one["id"] = json!(id);
                self.annotations.push(one);
                (200, json!({ "message": "Annotation added", "id": id }))
            }
            "PATCH" => {
                let id = rest.trim_start_matches('/').parse::<usize>().unwrap_or_default();
                let Some(one) = self.annotations.get_mut(id.wrapping_sub(1)) else {
                    return (404, json!({ "message": "Annotation not found" }));
                };
                let fields = request.body.as_object().unwrap().clone();
                one.as_object_mut().unwrap().extend(fields);
                (200, json!({ "message": "Annotation patched" }))
            }
            other => panic!("{other} is not asked for"),
        }
    }
}

/// Reads a request with the body that it announces.
async fn read(stream: &mut TcpStream) -> Option<Request> {
    let (mut read, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| {
                let mut lines = head.lines().filter_map(|line| line.split_once(": "));
                let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map_or_else(String::new, |(_, value)| value.to_owned())
            };
            if body.len() >= header("content-length").parse().unwrap_or(0) {
                let mut words = head.split(' ').map(str::to_owned);
                return Some(Request {
                    method: words.next()?,
                    target: words.next()?,
                    token: header("authorization"),
                    body: serde_json::from_str(body).unwrap_or_default(),
                });
            }
        }
        match stream.read(&mut part).await {
            Ok(count) if count > 0 => read.extend_from_slice(&part[..count]),
            Ok(_) | Err(_) => return None,
        }
    }
}
