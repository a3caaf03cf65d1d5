//! Serves pages on loopback, well or badly, as the test says.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
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

/// A running service. It answers 200 where nothing else is said.
#[derive(Clone)]
pub struct Service {
    pub address: SocketAddr,
    pages: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
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

    /// Says what a page answers from now on.
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
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|path| *path == page).count()
    }

    fn answer(&self, stream: &TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
        let page = path.to_owned();
        while reader.read_line(&mut line)? > 2 {}
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(page.clone());
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Answer { status, body, after } = pages.get(&page).cloned().unwrap_or(Answer::of(200));
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
