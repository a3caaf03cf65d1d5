//! Serves pages on loopback, well or badly, as the test says.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

/// What a page answers.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub after: Duration,
}

impl Answer {
    pub fn of(status: u16) -> Self {
        Self { status, body: String::new(), after: Duration::ZERO }
    }

    /// As Prometheus answers a query for one number.
    pub fn number(value: f64) -> Self {
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[1764000000,"{value}"]}}]}}}}"#
        );
        Self { body, ..Self::of(200) }
    }

    /// Longer than probes read, so that there is nothing to be judged.
    pub fn endless() -> Self {
        Self { body: "x".repeat(100 << 10), ..Self::of(200) }
    }
}

/// What somebody has asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub page: String,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    pub body: String,
}

/// A running service. It answers 200 where nothing else is said.
#[derive(Clone)]
pub struct Service {
    pub address: SocketAddr,
    pages: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("bind a port of loopback")?;
        let address = listener.local_addr().context("read the listener's address")?;
        let service = Self { address, pages: Arc::default(), asked: Arc::default() };
        let serving = service.clone();
        // It ends with the test.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                // Whoever asked does not wait any more.
                thread::spawn(move || drop(serving.answer(&stream)));
            }
        });
        Ok(service)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Says what a page answers from now on, whatever the method, or with the one in front of it: `POST /page`.
    pub fn set(&self, page: &str, answer: Answer) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.insert(page.to_owned(), answer);
    }

    /// Every page is well again.
    pub fn heal(&self) {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The requests for a page so far.
    pub fn asked(&self, page: &str) -> usize {
        self.requests().iter().filter(|one| one.page == page).count()
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, stream: &TcpStream) -> Result<()> {
        let asked = read(stream)?;
        let Asked { method, page, .. } = &asked;
        let of_method = format!("{method} {page}");
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = pages.get(&of_method).or_else(|| pages.get(page)).cloned();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        let Answer { status, body, after } = answer.unwrap_or(Answer::of(200));
        thread::sleep(after);
        let length = body.len();
        let mut stream = stream;
        write!(
            stream,
            "HTTP/1.1 {status} It\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )?;
        Ok(())
    }
}

fn read(stream: &TcpStream) -> Result<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let method = words.next().unwrap_or_default();
    let page = words.next().unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    let (mut authorization, mut length) = (None, 0);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = Some(value.to_owned()),
            "content-length" => length = value.parse().context("read a length")?,
            _ => {}
        }
    }
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    Ok(Asked { method, page, authorization, body })
}
